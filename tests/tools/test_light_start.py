"""Every tool with ``build_parser`` answers ``--help`` and a usage error without heavy imports."""
import json
import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = sorted(path for path in (Path(__file__).parents[2] / 'tools').glob('*.py')
               if '\ndef build_parser(' in path.read_text())
HEAVY = ('torch', 'mmengine', 'mmaction', 'mmcv', 'av', 'decord', 'cv2', 'scipy', 'matplotlib')
# One process for all tools: the heavy modules that each leaves behind.
CODE = """
import contextlib, io, json, runpy, sys
found = {}
for path in sys.argv[1:]:
    for arguments in (['--help'], ['--no-such-option']):
        sys.argv = [path, *arguments]
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            try:
                runpy.run_path(path, run_name='__main__')
            except SystemExit as error:
                status = error.code
        found[path + ' ' + arguments[0]] = [status, sorted(set(sys.modules) & set(HEAVY))]
print(json.dumps(found))
"""


@pytest.fixture(scope='module')
def starts():
    done = subprocess.run([sys.executable, '-c', f'HEAVY = {HEAVY}\n{CODE}', *map(str, TOOLS)],
                          capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize('path', TOOLS, ids=lambda path: path.stem)
def test_a_start_is_light(path, starts):
    assert starts[f'{path} --help'] == [0, []]
    assert starts[f'{path} --no-such-option'] == [2, []]


def test_there_are_tools():
    assert {'compare_strategies', 'demo', 'report'} <= {path.stem for path in TOOLS}
