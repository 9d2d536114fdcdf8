#!/usr/bin/env bash
# Makes .venv with exactly what requirements.lock names and this package in it. Wants Python >= 3.11; uses uv where there is one.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '%s\n' "$*" >&2; }

python=""
for candidate in "${PYTHON:-}" python3.12 python3.11 python3.13 python3 python; do
  [ -n "$candidate" ] || continue
  if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; then
    python=$(command -v "$candidate")
    break
  fi
done
if [ -z "$python" ]; then
  say "uplift needs Python 3.11 to 3.13 and found none."
  say "On Debian or Ubuntu: apt-get install python3 python3-venv. Elsewhere: set PYTHON=/path/to/python3."
  exit 2
fi

uv=$(command -v uv || true)
if [ ! -x .venv/bin/python ]; then
  say "· creating .venv with $("$python" --version)"
  if [ -n "$uv" ]; then
    "$uv" venv --quiet --seed --python "$python" .venv
  elif ! "$python" -m venv .venv 2>/dev/null; then
    rm -rf .venv
    say "This Python cannot make virtual environments."
    say "On Debian or Ubuntu: apt-get install python3-venv, then make setup again."
    exit 2
  fi
fi

say "· installing the locked dependencies (about 1.5 GB, a minute or two)"
# --no-deps: the lock is complete, and leaves out GPU libraries that a dependency asks for and nothing uses
if [ -n "$uv" ]; then
  VIRTUAL_ENV=.venv "$uv" pip install --quiet --require-hashes --no-deps -r requirements.lock
  VIRTUAL_ENV=.venv "$uv" pip install --quiet --no-deps --no-build-isolation -e .
else
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
fi
touch .venv/.ready
say "· ready: .venv/bin/uplift --help"
