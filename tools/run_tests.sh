#!/usr/bin/env bash
# Runs the linter and all tests on both stacks: TensorFlow 2.15 with Addons, and current TensorFlow
# with Keras 3. Arguments go to pytest, such as: tools/run_tests.sh tests/tfreid/losses -k triplet
set -euo pipefail
cd "$(dirname "$0")/.."
source tools/environment.sh

# run_suite NAME FOLDER REQUIREMENTS [pytest arguments]
run_suite() {
    local name=$1
    use_environment "$2" "$3"
    shift 3
    echo "== $name: $("$PYTHON" -c 'import tensorflow, keras
print("TensorFlow", tensorflow.__version__, "Keras", keras.__version__)' 2>/dev/null)"
    "$PYTHON" -m pytest --numprocesses "${TEST_PROCESSES:-auto}" --dist worksteal "$@"
}

# Both at once, since pip keeps one core busy; whatever ends the script, none is left half-made.
trap wait EXIT
second=
if python3 -c 'import sys; sys.exit(sys.version_info >= (3, 12))'; then
    use_environment .venv-keras3 requirements-keras3.txt &
    second=$!
fi
use_environment .venv requirements.txt
"$PYTHON" -m ruff check .
if [[ -n $second ]]; then
    wait "$second"
fi
run_suite "default stack" .venv requirements.txt "$@"
if [[ -n $second ]]; then
    run_suite "Keras 3 stack" .venv-keras3 requirements-keras3.txt "$@"
else
    echo "== Python 3.12 or newer: the default stack is the Keras 3 stack"
fi
