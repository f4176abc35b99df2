#!/usr/bin/env bash
# Makes .venv if necessary, runs a pipeline, writes reports/. See ./run_all.sh --help
# Needs only Python 3.11 or newer; PYTHON=/path/to/python3 ./run_all.sh chooses one.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

if [ -n "${PYTHON:-}" ] && ! command -v "$PYTHON" >/dev/null; then
  echo "run_all.sh: PYTHON=$PYTHON does not exist" >&2
  exit 2
fi
for python in ${PYTHON:+"$PYTHON"} python3 python3.14 python3.13 python3.12 python3.11 python; do
  if command -v "$python" >/dev/null &&
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    exec "$python" -m ohlora_lib.runner.launch "$@"
  fi
done
echo "run_all.sh: no Python 3.11 or newer found: install it, or run PYTHON=/path/to/python3 $0" >&2
exit 2
