#!/usr/bin/env bash
# A newcomer's first ten minutes, timed: from a clone to the inferred genes of an L1000 plate.
#   benchmarks/ten_minutes.sh PLATE.gct [REPOSITORY]     (default: this checkout; PYTHON=python3.12 takes another Python)
set -euo pipefail
plate=$(realpath "${1:?usage: benchmarks/ten_minutes.sh PLATE.gct [REPOSITORY]}")
repository=${2:-$(realpath "$(dirname "$0")/..")}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
start=$(date +%s)
step() {
    local begun
    begun=$(date +%s)
    "${@:2}" >"$scratch/said" 2>&1 || { cat "$scratch/said" >&2; exit 1; }
    echo "$1: $(($(date +%s) - begun)) s"
}
step "git clone" git clone -q "$repository" "$scratch/clone"
cd "$scratch/clone"
step "make setup" make setup
step "dgex info" .venv/bin/dgex info human-mini
step "dgex predict" .venv/bin/dgex predict human-mini "$plate" -o "$scratch/plate.h5ad" \
    --platform l1000 --interval 0.9 --report "$scratch/plate.html" -q
cat "$scratch/said"
echo "from the clone to the prediction: $(($(date +%s) - start)) s"
