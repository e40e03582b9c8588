#!/usr/bin/env bash
# Everything to measure on a machine with one NVIDIA GPU, unattended, in less than 9 minutes:
#   benchmarks/gpu.sh [FOLDER [OPTION...]]      options: python -m benchmarks.training_gpu --help
# Needs Python 3.11 or newer with pip, and the driver. FOLDER gets two environments (JAX and
# PyTorch each bring CUDA libraries of their own), kept for the next time, and the results;
# default: .gpu-benchmark. Another PYTHON, TORCH (what pip installs) or CUDA (cuda13): as variables.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1:-.gpu-benchmark}
shift || true
python=${PYTHON:-python3}
mkdir -p "$folder"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
    || { echo "needs Python 3.11 or newer: PYTHON=/path/to/python3.12 $0" >&2; exit 2; }
nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader

started=$SECONDS
install() { # environment packages...; nothing if they are there
    local place=$1; shift
    [ -e "$place/.ready" ] && return
    "$python" -m venv --clear "$place"
    "$place/bin/python" -m pip install -q --disable-pip-version-check "$@"
    touch "$place/.ready"
}
install "$folder/torch" numpy "${TORCH:-torch}" > "$folder/torch.log" 2>&1 &
torch_job=$!
install "$folder/jax" -e ".[${CUDA:-cuda12}]"
wait "$torch_job" || echo "PyTorch can't be installed ($folder/torch.log): its column stays empty"
echo "installed in $((SECONDS - started)) s"

# Else JAX takes most of the memory, and PyTorch's process has no room beside it.
export XLA_PYTHON_CLIENT_PREALLOCATE=false
left=$((450 - (SECONDS - started)))
[ "$left" -ge 120 ] || left=120
"$folder/jax/bin/python" -m benchmarks.training_gpu --minutes "$((left / 60))" \
    --torch-python "$folder/torch/bin/python" "$@" | tee "$folder/training_gpu.txt"
echo "all in $((SECONDS - started)) s; the tables are in $folder/training_gpu.txt"
echo "what TF32 does to the errors (simulates the study first, 17 GB):" \
    "$folder/jax/bin/python -m benchmarks.precision"
