#!/usr/bin/env bash
# ./launch.sh            installs deepgenre into .venv, then runs the demo on synthetic music
# ./launch.sh test       runs the tests
# ./launch.sh ARGS...    deepgenre ARGS...
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=$here/.venv/bin/python
installed=$(cat "$here/pyproject.toml" "$here/launch.sh" | cksum)

# Prints the newest Python of 3.11 and up: of those on the PATH, and those of pyenv.
find_python() {
    local candidate version newest=0 found=
    for candidate in python3 python3.{11..20} "${PYENV_ROOT:-$HOME/.pyenv}"/versions/*/bin/python3; do
        version=$("$candidate" -c 'import sys, venv; print(sys.version_info[0] * 100 + sys.version_info[1])' \
            2>/dev/null) || continue
        if [ "$version" -ge 311 ] && [ "$version" -gt "$newest" ]; then
            newest=$version found=$candidate
        fi
    done
    if [ -z "$found" ]; then
        echo "launch.sh: needs Python 3.11 or newer on the PATH" >&2
        return 1
    fi
    echo "$found"
}

install() {
    local extras=dev found
    if nvidia-smi >/dev/null 2>&1; then
        extras=dev,cuda12
    fi
    found=$(find_python)
    echo "installing deepgenre[$extras] into $here/.venv with $("$found" --version) (once; a minute or two)" >&2
    "$found" -m venv --clear "$here/.venv"
    "$python" -m pip install --quiet --disable-pip-version-check --editable "$here[$extras]" >&2
    echo "$installed" >"$here/.venv/installed"
}

if [ "$(cat "$here/.venv/installed" 2>/dev/null)" != "$installed" ]; then
    install
fi

if [ $# -eq 0 ]; then
    cd "$here"
    exec "$python" -m deepgenre.main demo
elif [ "$1" = test ]; then
    cd "$here"
    exec "$python" -m pytest "${@:2}"
else
    exec "$python" -m deepgenre.main "$@"
fi
