#!/usr/bin/env bash
# Puts a Home Assistant that tests talk to at .tools/homeassistant: its packages in lib, and
# python, which runs them. It needs Python 3.13: this machine's own, pyenv's, or Debian's package.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tools/setup/common.sh

home=.tools/homeassistant
wanted=tools/setup/homeassistant/requirements.txt

# is_usable PYTHON: it is the right one, and has what Home Assistant's database needs.
is_usable() { "$1" -c 'import sqlite3, ssl, sys; sys.exit(sys.version_info[:2] != (3, 13))' 2>/dev/null; }

find_python() {
    local found
    for found in python3.13 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.13*/bin/python; do
        if found=$(command -v "$found") && is_usable "$found"; then
            echo "$found"
            return
        fi
    done
    found=$(tools/setup/get-deb-tool.sh python3.13 "$(native_arch)" usr/bin/python3.13) || return 1
    is_usable "$found/python3.13" && echo "$found/python3.13"
}

case $(uname -m) in
    x86_64 | aarch64) ;;
    *) fail "Home Assistant's packages have no wheels for $(uname -m)" ;;
esac
[ "$(getconf LONG_BIT)" = 64 ] || fail "Home Assistant's packages have no wheels for 32 bit"
python=$(find_python) || fail "Home Assistant needs Python 3.13: see above, or install python3.13"

say "installing Home Assistant into .tools with $("$python" -V)"
rm -rf "$home"
mkdir -p "$home/new"
# get COMMAND ARGUMENT...: pip's install or download, for that Python, as things stand.
get() {
    # pip moves what it unpacked, which within one file system costs nothing.
    TMPDIR=$PWD/$home/new .venv/bin/python -m pip --python "$python" "$1" -qq --no-input \
        --disable-pip-version-check --retries 5 --timeout 60 --no-deps --only-binary :all: "${@:2}"
}
itself=$(grep '^homeassistant==' "$wanted")
grep -v '^homeassistant==' "$wanted" >"$home/new/others.txt"
fetched=
for attempt in 1 2 3; do
    if get download --dest "$home/new" "$itself" &&
        get install --no-compile --upgrade --target "$home/lib" --requirement "$home/new/others.txt"
    then
        fetched=yes
        break
    fi
    say "attempt $attempt failed (above)" >&2
done
[ -n "$fetched" ] || fail "pip could not fetch Home Assistant (above)"
# Of its 40 000 files most are translations.
"$python" - "$home"/new/homeassistant-*.whl "$home/lib" <<'UNPACK'
import sys
import zipfile

with zipfile.ZipFile(sys.argv[1]) as wheel:
    names = wheel.namelist()
    wanted = (one for one in names if "/translations/" not in one or one.endswith("en.json"))
    wheel.extractall(sys.argv[2], wanted)
UNPACK
rm -rf "$home/new"

# A checkout may move, and what is below .tools with it.
case $python in /*) ;; *) python="\$here/../../$python" ;; esac
cat >"$home/python" <<WRAPPER
#!/bin/sh
here=\$(dirname "\$(readlink -f "\$0")")
PYTHONPATH=\$here/lib exec "$python" "\$@"
WRAPPER
chmod +x "$home/python"
version=$("$home/python" -c 'import homeassistant.runner, homeassistant.const as c; print(c.__version__)')
say "Home Assistant $version runs on $("$home/python" -V)"
