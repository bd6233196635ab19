#!/usr/bin/env bash
# Puts the MQTT broker that tests use at .tools/bin/mosquitto, with mosquitto_passwd beside it.
# Debian's package, unpacked; the system's own mosquitto >= 2 is the named fallback.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tools/setup/common.sh

# use BROKER PASSWD ORIGIN: takes both programs if the broker runs here and is new enough.
use() {
    local broker=$1 version
    version=$("$broker" -h 2>/dev/null | sed -n 's/^mosquitto version \([0-9.]*\).*/\1/p')
    case $version in
        [2-9].*) ;;
        *) say "$3: mosquitto ${version:-that does not start}, but version 2 is needed" >&2
           return 1 ;;
    esac
    link_tool "$broker"
    link_tool "$2"
    say "mosquitto $version is $3"
}

if native=$(native_arch 2>/dev/null) &&
    bin=$(tools/setup/get-deb-tool.sh mosquitto "$native" \
        usr/sbin/mosquitto usr/bin/mosquitto_passwd) &&
    use "$bin/mosquitto" "$bin/mosquitto_passwd" "Debian's $native package"; then
    exit 0
fi
PATH=$PATH:/usr/sbin # where Debian installs it, and where an ordinary user's PATH does not look
if broker=$(command -v mosquitto) && passwd=$(command -v mosquitto_passwd); then
    use "$broker" "$passwd" "this system's own package" && exit 0
fi
fail "no mosquitto 2 to be had: see above, or install the package mosquitto"
