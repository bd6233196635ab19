#!/usr/bin/env bash
# Puts systemd-analyze, with which tests judge our units, at .tools/bin: this system's own, else
# Debian's, unpacked. Nothing of systemd is started.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tools/setup/common.sh

# new_enough PROGRAM: judging a unit that is not installed came with version 250.
new_enough() {
    version=$("$1" --version 2>/dev/null | sed -n '1s/^systemd \([0-9]*\).*/\1/p')
    [ "${version:-0}" -ge 250 ]
}

if own=$(command -v systemd-analyze) && new_enough "$own"; then
    link_tool "$own"
    say "systemd-analyze $version is this system's own"
    exit 0
fi
native=$(native_arch 2>/dev/null) && bin=$(tools/setup/get-deb-tool.sh systemd "$native" usr/bin/systemd-analyze) ||
    fail "no systemd-analyze to be had: see above, or install the package systemd"
root=$(dirname "$bin")/root
# Its library of parts is in a folder of its own, and the units that ours name are in another.
parts=$(cd "$root" && find usr/lib -name 'libsystemd-shared-*.so' -printf '%h\n' | sed -n 1p)
grep -q SYSTEMD_UNIT_PATH "$bin/systemd-analyze" || sed -i \
    -e "s#--library-path \"\([^\"]*\)\"#--library-path \"\1:\$here/$parts\"#" \
    -e "2a export SYSTEMD_UNIT_PATH=\"\$here/usr/lib/systemd/system:\"" "$bin/systemd-analyze"
new_enough "$bin/systemd-analyze" || fail "Debian's $native systemd-analyze does not start"
link_tool "$bin/systemd-analyze"
say "systemd-analyze $version is Debian's $native package"
