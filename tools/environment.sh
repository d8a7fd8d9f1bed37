# Makes a virtual environment and installs a requirements file and this checkout into it, once;
# sourced by the scripts beside it.

# use_environment FOLDER REQUIREMENTS: afterwards, $PYTHON is that environment's interpreter.
use_environment() {
    local folder=$1 requirements=$2
    local stamp=$folder/installed-requirements.txt
    PYTHON=$folder/bin/python
    if cat "$requirements" pyproject.toml | cmp -s - "$stamp"; then
        return
    fi
    if ! python3 -c 'import sys, venv, ensurepip; sys.exit(not (3, 9) <= sys.version_info[:2] <= (3, 13))'; then
        echo "error: python3 must be Python 3.9 to 3.13 with the venv module; on Debian or Ubuntu," \
            "install the packages python3 and python3-venv." >&2
        exit 2
    fi
    echo "installing $requirements into $folder (once; a few minutes)"
    python3 -m venv "$folder"
    "$PYTHON" -m pip install --quiet --disable-pip-version-check --requirement "$requirements"
    # TrackEval asks for another NumPy and a second OpenCV, and works with these.
    "$PYTHON" -m pip install --quiet --disable-pip-version-check --no-deps trackeval==1.3.0
    # The command `tfreid`, and tools/*.py, find the code of this checkout. One at a time: pip
    # writes beside the code.
    flock tools/environment.sh \
        "$PYTHON" -m pip install --quiet --disable-pip-version-check --no-deps --editable .
    cat "$requirements" pyproject.toml > "$stamp"
}

export TF_CPP_MIN_LOG_LEVEL=${TF_CPP_MIN_LOG_LEVEL:-3}
