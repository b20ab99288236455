#!/usr/bin/env bash
# ./launch.sh            installs deepgenre into .venv, then runs the demo on synthetic music
# ./launch.sh test       runs the tests
# ./launch.sh ARGS...    deepgenre ARGS...
# ./launch.sh --processes=N train ARGS...
#                        N processes of this machine that train together
#
# DEEPGENRE_LOCKED=1 installs the exact versions of .ci/versions-PYTHON.txt, where it has any.
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

pip_install() {
    "$python" -m pip install --quiet --disable-pip-version-check "$@" >&2
}

install() {
    local extras=dev found lock
    if nvidia-smi >/dev/null 2>&1; then
        extras=dev,cuda12
    fi
    found=$(find_python)
    echo "installing deepgenre[$extras] into $here/.venv with $("$found" --version) (once; a minute or two)" >&2
    "$found" -m venv --clear "$here/.venv"
    lock=$here/.ci/versions-$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])').txt
    if [ -n "${DEEPGENRE_LOCKED:-}" ] && [ -f "$lock" ]; then
        if pip_install --constraint "$lock" --editable "$here[$extras]"; then
            echo "$installed" >"$here/.venv/installed"
            return
        fi
        echo "launch.sh: $lock: not all of these versions can be installed; taking current ones" >&2
    fi
    pip_install --editable "$here[$extras]"
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
    exec "$python" -m pytest --numprocesses auto --dist loadfile "${@:2}"
elif [[ "$1" = --processes=* ]]; then
    exec "$python" -m deepgenre.processes.local "$@"
else
    exec "$python" -m deepgenre.main "$@"
fi
