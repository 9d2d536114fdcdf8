#!/usr/bin/env bash
# requirements.lock of the peers: every platform, hashes, no host.
set -euo pipefail
cd "$(dirname "$0")/../.."
.venv/bin/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
  --no-annotate --overrides scripts/lock-overrides.txt \
  benchmarks/peers/requirements.in -o benchmarks/peers/requirements.lock "$@"
