#!/usr/bin/env bash
# Runs the linter and all tests on both stacks: TensorFlow 2.15 with Addons, and current TensorFlow
# with Keras 3. With --quick as the first argument, only on the default stack and without the tests
# marked `slow`. Other arguments go to pytest: tools/run_tests.sh --quick tests/tfreid/losses
set -euo pipefail
cd "$(dirname "$0")/.."
source tools/environment.sh
# Rewriting the assertions of all tests takes each process 4 seconds; the second stack reads them.
unset PYTHONDONTWRITEBYTECODE

# run_suite NAME FOLDER REQUIREMENTS [pytest arguments]
run_suite() {
    local name=$1
    use_environment "$2" "$3"
    shift 3
    echo "== $name: $("$PYTHON" -c 'from importlib.metadata import version
print("TensorFlow", version("tensorflow"), "Keras", version("keras"))')"
    "$PYTHON" -m pytest --numprocesses "${TEST_PROCESSES:-auto}" --dist worksteal "$@"
}

quick=
if [[ ${1:-} == --quick ]]; then
    quick=1
    shift
fi

# Both at once, since pip keeps one core busy; whatever ends the script, none is left half-made.
trap wait EXIT
second=
if [[ -z $quick ]] && python3 -c 'import sys; sys.exit(sys.version_info >= (3, 12))'; then
    use_environment .venv-keras3 requirements-keras3.txt &
    second=$!
fi
use_environment .venv requirements.txt
"$PYTHON" -m ruff check .
if [[ -n $second ]]; then
    wait "$second"
fi
run_suite "default stack" .venv requirements.txt ${quick:+-m "not slow"} "$@"
if [[ -n $second ]]; then
    run_suite "Keras 3 stack" .venv-keras3 requirements-keras3.txt "$@"
elif [[ -z $quick ]]; then
    echo "== Python 3.12 or newer: the default stack is the Keras 3 stack"
fi
