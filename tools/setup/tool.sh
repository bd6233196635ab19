#!/usr/bin/env bash
# tool.sh NAME: runs NAME.sh, which puts one tool below .tools, and marks it as there.
# A tool that cannot be had leaves its reason in .tools/NAME.missing: the tests that need it then
# skip with that reason. With CI set it is an error.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tools/setup/common.sh

name=${1:?name of a tool}
mkdir -p .tools/bin
exec 9>".tools/$name.lock"
flock 9

rm -f ".tools/$name.missing"
if "tools/setup/$name.sh" 2>&1 | tee ".tools/$name.log"; then
    touch ".tools/$name.stamp"
    exit 0
fi
tail -n 1 ".tools/$name.log" >".tools/$name.missing"
[ -s ".tools/$name.missing" ] || echo "tools/setup/$name.sh failed" >".tools/$name.missing"
[ -z "${CI:-}" ] || fail "$name cannot be had (above), and CI allows no missing tool"
say "going on without $name: the tests that need it will be skipped, with this reason" >&2
