#!/bin/sh
# Set up a virtual environment with the tested pins, or finish one half done.
# usage: install.sh PYTHON VENV CONSTRAINTS EXTRA
set -eu
python=$1 venv=$2 constraints=$3 extra=$4
here=$(dirname "$0")
# Holds where a python sees a torch that is new enough, of whatever build.
has_torch='import sys; from importlib.metadata import version
sys.exit(tuple(map(int, version("torch").split(".")[:2])) < (2, 1))'
# Holds for a python that is not itself of a virtual environment.
is_base='import sys; sys.exit(sys.prefix != sys.base_prefix)'

fail() {
    echo "install: $*" >&2
    exit 1
}

install() {
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -c "$constraints" "$@" ||
        fail "pip could not install the packages (see above); it needs a package index" \
             "within reach and 2 GB of disk. The same command takes it up again."
}

command -v "$python" >/dev/null 2>&1 ||
    fail "there is no '$python'; install Python 3.11 or newer, or name one with PYTHON=..."
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "the tested pins need Python 3.11 or newer, '$python' is $("$python" -V 2>&1);" \
         "name a newer one with PYTHON=..."

if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    # --clear empties the folder: make sure that it is new or was an environment.
    [ -e "$venv/pyvenv.cfg" ] || [ -z "$(ls -A "$venv" 2>/dev/null)" ] ||
        fail "'$venv' holds something other than a virtual environment;" \
             "name another folder with VENV=..."
    echo "install: creating $venv with $("$python" -V 2>&1)"
    site=
    if "$python" -c "$has_torch" 2>/dev/null && "$python" -c "$is_base"; then
        echo "install: keeping the torch that is installed for $python"
        site=--system-site-packages
    fi
    "$python" -m venv --clear $site "$venv" ||
        fail "'$python -m venv' does not work; install its venv module" \
             "(on Debian and Ubuntu the package python3-venv)"
fi
if ! "$venv/bin/python" -c "$has_torch" 2>/dev/null; then
    echo 'install: torch'
    install -r "$here/torch.txt"
fi
echo "install: the pins of $constraints, a minute or two"
install -e "$here/..[$extra]"
# Two first imports at once can fail: yapf, which mmengine uses, writes its grammar file then.
"$venv/bin/python" -c 'import mmengine' || fail "mmengine cannot be imported (see above)"
