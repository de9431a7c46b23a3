"""Every tool answers ``--help`` and a usage error without heavy imports."""
import json
import subprocess
import sys
from pathlib import Path

import pytest

from sbp_tad.apis import feature_extraction
from sbp_tad.apis.inference import results as inference_results
from sbp_tad.apis.launch_options import FEATURE_FORMATS, RESULT_FORMATS
from sbp_tad.datasets.toy_videos.looks import LOOKS
from sbp_tad.datasets.toy_videos.settings import LOOK_NAMES

TOOLS = sorted((Path(__file__).parents[2] / 'tools').glob('*.py'))
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


@pytest.mark.parametrize('path', TOOLS, ids=lambda path: path.stem)
def test_the_parser_is_public(path):
    assert '\ndef build_parser() -> argparse.ArgumentParser:' in path.read_text()


def test_there_are_tools():
    assert {'compare_strategies', 'demo', 'report', 'train'} <= {path.stem for path in TOOLS}


def test_the_choices_are_those_of_the_modules():
    assert RESULT_FORMATS == tuple(inference_results.FORMATS)
    assert FEATURE_FORMATS == feature_extraction.FORMATS
    assert LOOK_NAMES == tuple(LOOKS)
