#!/usr/bin/env bash
# build.sh [WHEEL]: makes dist/wattlog_VERSION_ARCH.deb of the wheel, which is built unless given.
# In it is an environment of its own (/opt/wattlog) with all libraries, for this machine's
# architecture and /usr/bin/python3; installing it needs no network. Needs dpkg-deb, no root.
# Settings:
#   WATTLOG_LIBRARIES    a folder to take instead of what pip fetches for wattlog[agent,host]
#   WATTLOG_DEB_VERSION  the wheel's unless given
#   WATTLOG_DEB_FOLDER   where it goes instead of dist
set -euo pipefail
cd "$(dirname "$0")/../.."
. tools/setup/common.sh

command -v dpkg-deb >/dev/null || fail "a Debian package is made by dpkg-deb, which is not here"
python=/usr/bin/python3
pip=(.venv/bin/python -m pip --disable-pip-version-check --python "$python")
folder=$(realpath -m "${WATTLOG_DEB_FOLDER:-dist}")
mkdir -p "$folder"
work=$(mktemp -d "$folder/.deb-XXXXXX")
trap 'rm -rf "$work"' EXIT

if [ $# -eq 0 ]; then
    .venv/bin/python -m hatchling build -t wheel -d "$work" >/dev/null
    set -- "$work"/wattlog-*.whl
fi
wheel=$(readlink -f "$1")
version=${WATTLOG_DEB_VERSION:-$(basename "$wheel" | cut -d- -f2)}
minor=$("$python" -c 'import sys; print(sys.version_info[1])')
[ "$minor" -ge 11 ] || fail "$python is 3.$minor, but wattlog needs 3.11"
arch=$(native_arch)
# The same sources make the same package, whenever that is.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
export SOURCE_DATE_EPOCH

root=$work/root
packages=$root/opt/wattlog/lib/python3.$minor/site-packages
mkdir -p "$packages" "$root"/opt/wattlog/bin "$root"/usr/{bin,lib/systemd/system,lib/udev/rules.d} \
    "$root"/usr/share/{wattlog,doc/wattlog} "$root/DEBIAN"
if [ -n "${WATTLOG_LIBRARIES:-}" ]; then
    cp -a "$WATTLOG_LIBRARIES/." "$packages"
    "${pip[@]}" install --quiet --no-compile --no-deps --no-index --target "$packages" "$wheel"
else
    "${pip[@]}" install --quiet --no-compile --target "$packages" "$wheel[agent,host]"
fi
rm -rf "$packages/bin" # commands of libraries, and ours with the path of this machine
find "$packages" -name __pycache__ -type d -prune -exec rm -rf {} +

# What `python3 -m venv /opt/wattlog` would have made there.
ln -s "$python" "$root/opt/wattlog/bin/python3"
printf 'home = /usr/bin\ninclude-system-site-packages = false\nversion = 3.%s\n' "$minor" \
    >"$root/opt/wattlog/pyvenv.cfg"
for pair in wattlog-agent:wattlog_pi wattlog-host:wattlog_host wattlog-tools:wattlog_tools; do
    name=${pair%:*} module=${pair#*:}
    printf '#!/opt/wattlog/bin/python3\nimport sys\n\nfrom %s.cli import main\n\nsys.exit(main())\n' \
        "$module" >"$root/opt/wattlog/bin/$name"
    ln -s "../../opt/wattlog/bin/$name" "$root/usr/bin/$name"
done

# Units and settings are those of the packages.
for pair in wattlog-agent:wattlog_pi wattlog-host:wattlog_host; do
    name=${pair%:*} module=${pair#*:}
    sed "s#@COMMAND@#/opt/wattlog/bin/$name#" "$packages/$module/service/$name.service" \
        >"$root/usr/lib/systemd/system/$name.service"
done
cp "$packages/wattlog_pi/service/70-wattlog.rules" "$root/usr/lib/udev/rules.d/"
cp "$packages/wattlog_host/service/host.toml" "$root/usr/share/wattlog/"
PYTHONPATH=$packages "$python" -c '
from wattlog_pi.service_command import service_of
print(*(one.text for one in service_of("agent", [], "127.0.0.1").files if one.is_kept), end="")
' >"$root/usr/share/wattlog/agent.toml"
cp LICENSE "$root/usr/share/doc/wattlog/copyright"

# The service's user can write no bytecode: without it each start would compile everything anew.
"$python" -m compileall -q -j 0 --invalidation-mode unchecked-hash -s "$root" "$packages" ||
    true # a library may bring a file for another Python

size_kib=$(du -sk --apparent-size "$root" | cut -f1)
sed -e "s/@VERSION@/$version/" -e "s/@ARCH@/$arch/" -e "s/@SIZE@/$size_kib/" \
    -e "s/@MINOR@/$minor/" -e "s/@NEXT@/$((minor + 1))/" tools/deb/control >"$root/DEBIAN/control"
for script in postinst prerm postrm; do
    install -m 755 "tools/deb/$script" "$root/DEBIAN/$script"
done
chmod -R u=rwX,go=rX "$root"
chmod 755 "$root"/opt/wattlog/bin/wattlog-*
target=$folder/wattlog_${version}_$arch.deb
dpkg-deb --root-owner-group -Zxz --build "$root" "$target" >/dev/null
say "$target: $(du -k "$target" | cut -f1) KiB, for Python 3.$minor"
