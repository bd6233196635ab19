#!/usr/bin/env bash
# venv.sh run|dev: .venv holds wattlog (editable) with what running or also testing it needs.
# Installs python3-venv where it is missing and this user may; else says what to install.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tools/setup/common.sh

level=${1:?run or dev}
case $level in
    run) extras=all ;;
    dev) extras=all,dev ;;
    *) fail "venv.sh: '$level' is neither run nor dev" ;;
esac

exec 9>.venv.lock
flock 9   # two makes in one checkout take turns

find_python() {
    local name
    for name in ${PYTHON:+"$PYTHON"} python3 python3.14 python3.13 python3.12 python3.11; do
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    return 1
}

make_venv() {
    local python package
    if ! python=$(find_python); then
        install_packages python3 python3-venv ||
            fail "no Python found; install it: apt-get install python3 python3-venv"
        python=$(find_python) || fail "this system's python3 is too old: wattlog needs Python 3.11"
    fi
    # Debian ships venv without the pip it needs; the package of the same version has it.
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
        install_packages "$package" ||
            fail "$python has no ensurepip; install it: sudo apt-get install $package"
    fi
    say "making .venv with $("$python" -V)"
    "$python" -m venv --clear .venv
    pwd -P >.venv/where
}

if [ "$(cat .venv/where 2>/dev/null)" != "$(pwd -P)" ] ||
    ! .venv/bin/python -c 'import pip' 2>/dev/null; then
    make_venv
fi

say "installing wattlog[$extras] into .venv"
# Twice quiet: errors are shown, remarks about the machine's own index settings are not.
.venv/bin/python -m pip install -qq --disable-pip-version-check --no-input --editable ".[$extras]"
[ "$level" = run ] || touch .venv/run.stamp
touch ".venv/$level.stamp"
