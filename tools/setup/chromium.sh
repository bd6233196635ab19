#!/usr/bin/env bash
# Puts the browser that tests/browser drives at .tools/bin/chromium: the one that is installed, else
# Debian's package. Only tests need it.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tools/setup/common.sh

find_browser() {
    local name
    for name in chromium chromium-browser google-chrome; do
        command -v "$name" && return
    done
    return 1
}

if ! browser=$(find_browser); then
    install_packages chromium || fail "no Chromium found; install it: sudo apt-get install chromium"
    browser=$(find_browser) || fail "the package chromium brought no command chromium"
fi
# Under the one name that tests know, whatever the system calls it.
ln -sfn "$browser" .tools/bin/chromium
say "$("$browser" --version 2>/dev/null) is $browser"
