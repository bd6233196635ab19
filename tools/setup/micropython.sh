#!/usr/bin/env bash
# Puts a MicroPython >= 1.25 at .tools/bin/micropython and says in .tools/micropython.env what it
# is: VERSION, PACKAGE, WORD_BITS and HEAP, the heap that stands for an ESP32's 56 KiB on it.
#
# First choice are the 32-bit packages: object sizes, small integers and ticks are then those of
# the ESP32. A 64-bit one is the named fallback; its objects need half as much heap again.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tools/setup/common.sh

probe='import sys
v = sys.implementation.version
print(32 if sys.maxsize < 2**32 else 64, v[0] * 1000 + v[1], "%d.%d.%d" % v[:3])'

# use PROGRAM ORIGIN: takes PROGRAM if it runs here and is new enough, else says why not.
use() {
    local word_bits number version heap_kib=56 facts
    if ! facts=$("$1" -X heapsize=56k -c "$probe" 2>/dev/null); then
        say "$2: does not start on this machine" >&2
        return 1
    fi
    read -r word_bits number version <<<"$facts"
    if [ "$number" -lt 1025 ]; then
        say "$2: version $version is too old, 1.25 is needed" >&2
        return 1
    fi
    [ "$word_bits" = 32 ] || heap_kib=84
    link_tool "$1"
    printf '%s\n' "VERSION=$version" "PACKAGE=$2" "WORD_BITS=$word_bits" "HEAP=${heap_kib}k" \
        >.tools/micropython.env.new
    mv .tools/micropython.env.new .tools/micropython.env
    say "MicroPython $version is $2, $word_bits bit, tested with a heap of $heap_kib KiB"
}

from_debian() {
    local bin
    bin=$(tools/setup/get-deb-tool.sh micropython "$1" usr/bin/micropython) &&
        use "$bin/micropython" "Debian's $1 package"
}

native=$(native_arch 2>/dev/null) || native=unknown
case $native in
    amd64) arches="i386 amd64" ;;
    arm64) arches="armhf arm64" ;;
    *) arches=$native ;;
esac
for arch in $arches; do
    from_debian "$arch" && exit 0
done
installed=$(command -v micropython) && use "$installed" "this system's own package" && exit 0
fail "no MicroPython 1.25 or newer to be had: see above; Debian 13 has the package micropython"
