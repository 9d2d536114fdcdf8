#!/usr/bin/env bash
# MLflow's pages and API on MLFLOW_HOST:MLFLOW_PORT (default 127.0.0.1:5000).
# Store: UPLIFT_POSTGRES where it is set (a team's server), else the SQLite file of the workspace given with -C.
set -euo pipefail
here="$(cd "$(dirname "$0")/.." && pwd)"
workspace="$PWD"
if [ "${1:-}" = "-C" ]; then
  workspace="$(cd "$2" && pwd)"
elif [ ! -f "$workspace/uplift.yaml" ] && [ -f "$here/demo/uplift.yaml" ]; then
  workspace="$here/demo"
fi

export MLFLOW_ALLOW_PICKLE_DESERIALIZATION=false MLFLOW_DISABLE_TELEMETRY=true MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false
store="${UPLIFT_POSTGRES:-sqlite:///$workspace/mlflow/store/mlflow.db}"
artifacts="${UPLIFT_ARTIFACTS:-$workspace/mlflow/store/artifacts}"
mkdir -p "$workspace/mlflow/store"

python="$here/.venv/bin/python"
[ -x "$python" ] || python=python3
case "$store" in
  postgresql*)
    "$python" -c 'import psycopg2' 2>/dev/null || {
      echo "A PostgreSQL store needs psycopg2: pip install 'uplift[server]'" >&2
      exit 2
    }
    echo "· MLflow on PostgreSQL, http://${MLFLOW_HOST:-127.0.0.1}:${MLFLOW_PORT:-5000}" ;;
  *) echo "· MLflow on $store, http://${MLFLOW_HOST:-127.0.0.1}:${MLFLOW_PORT:-5000}" ;;
esac
exec "$python" -m mlflow server --backend-store-uri "$store" --artifacts-destination "$artifacts" --serve-artifacts \
  --host "${MLFLOW_HOST:-127.0.0.1}" --port "${MLFLOW_PORT:-5000}" --workers 1
