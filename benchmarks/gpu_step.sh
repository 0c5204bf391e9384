#!/usr/bin/env bash
# Train steps and decoding on one GPU beside transformers in PyTorch, in under ten minutes: gpu_step.py says what.
#
#   benchmarks/gpu_step.sh                  # PYTHON, or else python3, which has JAX for CUDA and PyTorch
#   benchmarks/gpu_step.sh --install        # makes .venv-gpu with both first: pip alone, about 8 GB
#   benchmarks/gpu_step.sh --tiny           # the same code on a CPU, with very small models: about a minute
#
# Further arguments are gpu_step.py's (--help lists them).
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=${PYTHON:-python3}
if [ "${1:-}" = --install ]; then
  shift
  "$python" -m venv "$root/.venv-gpu"
  python=$root/.venv-gpu/bin/python
  "$python" -m pip install --quiet "$root[gpu,bench]"
fi
export PYTHONPATH=$root PYTHONUNBUFFERED=1
exec "$python" "$root/benchmarks/gpu_step.py" "$@"
