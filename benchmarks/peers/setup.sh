#!/usr/bin/env bash
# Makes .venv-peers with exactly what requirements.lock names: the peers never share an environment with the project.
set -euo pipefail
cd "$(dirname "$0")/../.."

lock=benchmarks/peers/requirements.lock
uv=$(command -v .venv/bin/uv || command -v uv || true)
if [ ! -x .venv-peers/bin/python ]; then
  printf '· creating .venv-peers with %s\n' "$(.venv/bin/python --version)" >&2
  if [ -n "$uv" ]; then
    "$uv" venv --quiet --seed --python "$(.venv/bin/python -c 'import sys; print(sys.executable)')" .venv-peers
  else
    .venv/bin/python -m venv .venv-peers
  fi
fi
printf '· installing the locked peers (about 700 MB)\n' >&2
# --no-deps: the lock is complete, and leaves out GPU libraries that a dependency asks for and nothing uses
if [ -n "$uv" ]; then
  VIRTUAL_ENV=.venv-peers "$uv" pip install --quiet --require-hashes --no-deps -r "$lock"
else
  .venv-peers/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r "$lock"
fi
touch .venv-peers/.ready
