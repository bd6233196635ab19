# Shared by the set-up scripts; source it with the project root as working directory.
# shellcheck shell=bash

say() { printf 'wattlog: %s\n' "$*"; }
fail() { printf 'wattlog: %s\n' "$*" >&2; exit 1; }

# install_packages PKG...: by apt-get as root, or through sudo where it can work.
# Returns 1 (and says nothing) when this user has no way to install.
install_packages() {
    local as_root=()
    command -v apt-get >/dev/null || return 1
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || return 1
        # Without a terminal nobody could type the password that sudo may ask for.
        [ -t 0 ] || sudo -n true 2>/dev/null || return 1
        as_root=(sudo)
    fi
    local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq
        -o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0)
    say "installing ${*} with ${as_root[*]:+sudo }apt-get"
    # The package lists of a fresh machine are empty or old; refresh them only when they fail.
    "${apt[@]}" install --yes --no-install-recommends "$@" >/dev/null 2>&1 && return 0
    "${apt[@]}" update >/dev/null
    "${apt[@]}" install --yes --no-install-recommends "$@" >/dev/null
}

# link_tool PROGRAM: .tools/bin gets a link to it; relative below .tools, so a checkout may move.
link_tool() {
    local relative=()
    case $1 in /*) ;; *) relative=(-r) ;; esac
    ln -sfn "${relative[@]}" "$1" ".tools/bin/$(basename "$1")"
}

# The architecture of this machine's own programs, as Debian calls it.
native_arch() { dpkg --print-architecture; }
