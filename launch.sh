#!/usr/bin/env bash
# ./launch.sh            installs deepgenre into .venv, then shows the whole way on synthetic music
# ./launch.sh test       runs the tests
# ./launch.sh ARGS...    python -m deepgenre.main ARGS...
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=$here/.venv/bin/python
wanted=$(cat "$here/pyproject.toml" "$here/launch.sh" | cksum)

find_python() {
    local candidate
    for candidate in python3 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "launch.sh: needs Python 3.11 or newer on the PATH" >&2
    exit 1
}

install() {
    local extras=dev
    if nvidia-smi >/dev/null 2>&1; then
        extras=dev,cuda12
    fi
    echo "installing deepgenre[$extras] into $here/.venv (once; a minute or two)" >&2
    "$(find_python)" -m venv "$here/.venv"
    "$python" -m pip install --quiet --disable-pip-version-check --editable "$here[$extras]" >&2
    echo "$wanted" >"$here/.venv/installed"
}

if [ "$(cat "$here/.venv/installed" 2>/dev/null)" != "$wanted" ]; then
    install
fi

if [ $# -eq 0 ]; then
    cd "$here"
    exec "$python" -m deepgenre.main --config=configs/synthetic.py --mode=demo
elif [ "$1" = test ]; then
    cd "$here"
    exec "$python" -m pytest "${@:2}"
else
    exec "$python" -m deepgenre.main "$@"
fi
