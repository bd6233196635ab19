#!/usr/bin/env bash
# get-deb-tool.sh PACKAGE ARCH PROGRAM...: unpacks a Debian package with all it needs below
# .tools/deb and writes one wrapper per PROGRAM (a path such as usr/bin/x) into its bin folder.
# Prints that folder. Installs nothing, needs no root, and touches none of apt's own state.
#
# apt checks the signatures against Debian's own keyring, so it does not matter which of the
# machine's configured mirrors answers. Settings:
#   WATTLOG_DEB_MIRROR   address of a Debian mirror; else those that apt is configured with
#   WATTLOG_DEB_SUITE    trixie unless given
#   WATTLOG_DEB_KEYRING  /usr/share/keyrings/debian-archive-keyring.gpg unless given
set -euo pipefail
cd "$(dirname "$0")/../.."
. tools/setup/common.sh

package=${1:?package} arch=${2:?architecture}
shift 2
suite=${WATTLOG_DEB_SUITE:-trixie}
target=.tools/deb/$package-$arch-$suite
programs=("$@")
[ "${#programs[@]}" -gt 0 ] || fail "get-deb-tool.sh: name a program of $package"

if [ -e "$target/complete" ]; then
    echo "$target/bin"
    exit 0
fi

if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
    fail "$package comes from Debian by apt-get, which this system does not have"
fi

find_keyring() {
    local file
    for file in ${WATTLOG_DEB_KEYRING:+"$WATTLOG_DEB_KEYRING"} \
        /usr/share/keyrings/debian-archive-keyring.{gpg,pgp}; do
        [ -r "$file" ] && echo "$file" && return
    done
    return 1
}
keyring=$(find_keyring) ||
    fail "Debian's signing keys are not here: install the package debian-archive-keyring"

# --print-uris asks apt what it would fetch; nothing is fetched and no package list need be there.
configured_mirrors() {
    apt-get --print-uris update 2>/dev/null |
        sed -n "s#^'\(.*\)/dists/[^ ]*InRelease' .*#\1#p" |
        grep -v -e security -e '/ubuntu' -e raspberrypi | sort -u
}
mirrors=("${WATTLOG_DEB_MIRROR:-}")
[ -n "${mirrors[0]}" ] || mapfile -t mirrors < <(configured_mirrors)
[ "${#mirrors[@]}" -gt 0 ] ||
    fail "no Debian mirror is configured here: set WATTLOG_DEB_MIRROR to the address of one"

mkdir -p .tools/deb
work=$(mktemp -d "$PWD/.tools/deb/.new-XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/apt/{lists,cache/archives}/partial "$work"/apt/{state,none}
mkdir -p "$work"/tool/{root,bin}
: >"$work/apt/status" # empty: apt then resolves everything down to libc by itself

cat >"$work/apt/apt.conf" <<CONF
#clear APT::Update;
#clear APT::NeverAutoRemove;
#clear DPkg::Pre-Install-Pkgs;
#clear DPkg::Post-Invoke;
APT::Architecture "$arch";
#clear APT::Architectures;
APT::Architectures { "$arch"; };
APT::Default-Release "";
APT::Install-Recommends "false";
APT::Sandbox::User "";
Acquire::Languages "none";
Acquire::Retries "2";
Acquire::http::Timeout "30";
Acquire::https::Timeout "30";
Dir::Etc::sourceparts "$work/apt/none";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "$work/apt/none";
Dir::Etc::sourcelist "$work/apt/sources.list";
Dir::State "$work/apt/state";
Dir::State::lists "$work/apt/lists";
Dir::State::status "$work/apt/status";
Dir::Cache "$work/apt/cache";
Dir::Cache::archives "$work/apt/cache/archives";
Dir::Log "$work/apt/state";
Debug::NoLocking "true";
CONF
private_apt() { apt-get -qq -c "$work/apt/apt.conf" "$@"; }

download() {
    printf 'deb [arch=%s signed-by=%s target=Packages] %s %s main\n' \
        "$arch" "$keyring" "$1" "$suite" >"$work/apt/sources.list"
    private_apt -o APT::Update::Error-Mode=any update >>"$work/apt/log" 2>&1 &&
        private_apt --download-only --yes install "$package" >>"$work/apt/log" 2>&1
}

say "fetching $package ($arch) of Debian $suite into .tools" >&2
fetched=
for mirror in "${mirrors[@]}"; do
    if download "${mirror%/}"; then
        fetched=yes
        break
    fi
done
if [ -z "$fetched" ]; then
    grep -E '^(E|W|Err)' "$work/apt/log" | tail -n 5 >&2 || cat "$work/apt/log" >&2
    fail "no configured mirror gave $package ($arch) of Debian $suite;" \
        "set WATTLOG_DEB_MIRROR to the address of a Debian mirror"
fi
for deb in "$work"/apt/cache/archives/*.deb; do
    dpkg-deb -x "$deb" "$work/tool/root"
done

# first_path NAME: where in the unpacked tree a file of that name is, relative to its root.
first_path() { (cd "$work/tool/root" && find . -name "$1" -printf '%P\n' | sort | sed -n 1p); }
loader=$(first_path 'ld-linux*.so.*')
libc=$(first_path libc.so.6)
if [ -z "$loader" ] || [ -z "$libc" ]; then
    fail "$package ($arch): no C library among its packages"
fi
libraries=${libc%/*}
for program in "${programs[@]}"; do
    [ -f "$work/tool/root/$program" ] || fail "$package ($arch) has no /$program"
    wrapper=$work/tool/bin/$(basename "$program")
    # The wrapper finds its folder by itself: a checkout may be moved, its path may have spaces.
    cat >"$wrapper" <<WRAPPER
#!/bin/sh
here=\$(dirname "\$(readlink -f "\$0")")/../root
exec "\$here/$loader" --library-path "\$here/$libraries" "\$here/$program" "\$@"
WRAPPER
    chmod +x "$wrapper"
done
touch "$work/tool/complete"
rm -rf "$target"
mv -T "$work/tool" "$target"
echo "$target/bin"
