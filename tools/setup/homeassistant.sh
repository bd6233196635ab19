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
mkdir -p "$home"
fetched=
for attempt in 1 2 3; do
    # Not compiled: of 10 000 files it imports a few hundred.
    if .venv/bin/python -m pip --python "$python" install -qq --disable-pip-version-check --no-input \
        --retries 5 --timeout 60 --no-compile --no-deps --only-binary :all: \
        --target "$home/lib" --upgrade --requirement "$wanted"; then
        fetched=yes
        break
    fi
    say "attempt $attempt failed (above)" >&2
done
[ -n "$fetched" ] || fail "pip could not fetch Home Assistant (above)"

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
