#!/usr/bin/env bash
# Puts the PostgreSQL that tests use at .tools/postgres: a folder with initdb and postgres.
# The system's own >= 14 is first choice; else Debian's package, unpacked (400 MB).
set -euo pipefail
cd "$(dirname "$0")/../.."
. tools/setup/common.sh

# use FOLDER ORIGIN: takes the programs there if the server runs here and is new enough.
use() {
    local version
    version=$("$1/postgres" -V 2>/dev/null | sed -n 's/^postgres (PostgreSQL) \([0-9]*\).*/\1/p')
    if [ "${version:-0}" -lt 14 ] || ! "$1/initdb" -V >/dev/null 2>&1; then
        say "$2: PostgreSQL ${version:-that does not start}, but version 14 is needed" >&2
        return 1
    fi
    case $1 in
        /*) ln -sfn "$1" .tools/postgres ;;
        *) ln -sfn "${1#.tools/}" .tools/postgres ;;
    esac
    say "PostgreSQL $version is $2"
}

# The server finds its files beside itself, so it stays where it is in the unpacked tree; it and
# initdb, which starts it, are run with the C library that came with them.
from_debian() {
    local bin folder loader libraries program
    bin=$(tools/setup/get-deb-tool.sh "postgresql-$1" "$native" \
        "usr/lib/postgresql/$1/bin/initdb" "usr/lib/postgresql/$1/bin/postgres") || return 1
    folder=${bin%/bin}/root/usr/lib/postgresql/$1/bin
    loader=$(cd "${bin%/bin}/root" && find . -name 'ld-linux*.so.*' -printf '%P\n' | sort | sed -n 1p)
    libraries=$(cd "${bin%/bin}/root" && find . -name libc.so.6 -printf '%h\n' | sort | sed -n 1p)
    for program in initdb postgres; do
        [ -e "$folder/$program.bin" ] || mv "$folder/$program" "$folder/$program.bin"
        cat >"$folder/$program" <<WRAPPER
#!/bin/sh
here=\$(dirname "\$(readlink -f "\$0")")
root=\$here/../../../../..
exec "\$root/$loader" --library-path "\$root/$libraries" "\$here/$program.bin" "\$@"
WRAPPER
        chmod +x "$folder/$program"
    done
    use "$folder" "Debian's package"
}

for folder in $(printf '%s\n' /usr/lib/postgresql/*/bin | sort -rV); do
    [ -x "$folder/postgres" ] && use "$folder" "this system's own package" && exit 0
done
if native=$(native_arch 2>/dev/null); then
    # What Debian 13 and 12 have.
    for version in 17 15; do
        from_debian "$version" && exit 0
    done
fi
fail "no PostgreSQL 14 or newer to be had: see above, or install the package postgresql"
