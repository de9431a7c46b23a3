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

ROOT = Path(__file__).parents[2]
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


ANNOTATION = dict(database={f'v{number}': dict(
    subset='test', duration=30, fps=10, annotations=[dict(segment=[2, 9], label='jump')])
    for number in range(3)})
DETECTIONS = dict(results={f'v{number}': [dict(segment=[2, 8], label='jump', score=0.5)]
                           for number in range(3)})
TABLE = 'video,start,end,label\nv0,1,2,jump\n'


@pytest.mark.parametrize('command', [
    'evaluate.py --ground-truth {gt} --predictions {found} --subset test',
    'analyze_errors.py --ground-truth {gt} --predictions {found} --subset test --out {folder}',
    'convert_annotations.py csv {table} {folder}/made.json',
    'check_dataset.py {gt}'], ids=lambda command: command.split('.')[0])
def test_annotations_and_results_need_no_pytorch(command, tmp_path):
    (tmp_path / 'gt.json').write_text(json.dumps(ANNOTATION))
    (tmp_path / 'found.json').write_text(json.dumps(DETECTIONS))
    (tmp_path / 'table.csv').write_text(TABLE)
    words = command.format(gt=tmp_path / 'gt.json', found=tmp_path / 'found.json',
                           table=tmp_path / 'table.csv', folder=tmp_path).split()
    code = ('import runpy, sys\n'
            'try:\n    runpy.run_path(sys.argv[0], run_name="__main__")\n'
            'except SystemExit as end:\n'
            '    print("status", end.code, set(sys.modules) & {"torch", "mmengine", "mmaction"})')
    argv = [str(ROOT / 'tools' / words[0]), *words[1:]]
    done = subprocess.run([sys.executable, '-c', f'import sys\nsys.argv = {argv}\n{code}'],
                          capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == 'status 0 set()', done.stdout + done.stderr
