#!/usr/bin/env bash
# The tests: all but notebooks and proofs by default, or one of those. UPLIFT_STRICT=1 makes every skip a failure.
set -euo pipefail
cd "$(dirname "$0")/.."
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
workers=$(.venv/bin/python -c 'import os; print(os.cpu_count() or 1)')
case "${1:-unit}" in
  unit) exec .venv/bin/pytest -q -n "$workers" --dist worksteal -m "not proof" --ignore tests/notebooks --durations 15 ;;
  notebooks) exec .venv/bin/pytest -q -n "$workers" tests/notebooks ;;
  proofs) exec .venv/bin/pytest -q -n "$workers" --dist worksteal --proofs --ignore tests/notebooks ;;
  *) echo "usage: tests.sh [unit|notebooks|proofs]" >&2; exit 2 ;;
esac
