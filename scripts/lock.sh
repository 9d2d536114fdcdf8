#!/usr/bin/env bash
# requirements.lock from the ranges in pyproject.toml: every platform, hashes, no host.
set -euo pipefail
cd "$(dirname "$0")/.."
.venv/bin/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
  --no-annotate --all-extras --overrides scripts/lock-overrides.txt \
  pyproject.toml scripts/lock-cpu.in -o requirements.lock "$@"
