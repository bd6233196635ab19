#!/usr/bin/env bash
# Puts the newest MicroPython, built for WebAssembly, below .tools/wasm; the version and its
# digest are pinned in tools/setup/wasm. Needs node and npm, which are not installed for it.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tools/setup/common.sh

for command in node npm; do
    command -v "$command" >/dev/null || fail "MicroPython for WebAssembly needs $command"
done
# npm brings its own list of authorities; like every other tool it shall trust what the system does.
authorities=/etc/ssl/certs/ca-certificates.crt
[ ! -r "$authorities" ] || export NODE_EXTRA_CA_CERTS="${NODE_EXTRA_CA_CERTS:-$authorities}"
mkdir -p .tools/wasm
cp tools/setup/wasm/package.json tools/setup/wasm/package-lock.json .tools/wasm/
say "fetching MicroPython for WebAssembly into .tools"
npm ci --prefix .tools/wasm --loglevel=error --no-audit --no-fund --ignore-scripts \
    --fetch-retries=1 --fetch-timeout=60000 >/dev/null ||
    fail "npm could not fetch MicroPython for WebAssembly (above)"
version=$(node tools/setup/wasm_run.mjs -c \
    'import sys; print("%d.%d.%d" % sys.implementation.version[:3])')
say "MicroPython $version for WebAssembly runs on node $(node --version)"
