"""Names from files never lead out of their folder, wherever a path is made of one."""
import ast
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sbp_tad.apis.feature_extraction import ExtractionOptions
from sbp_tad.apis.inference.inferencer import _picture
from sbp_tad.apis.inference.inputs import InputVideo
from sbp_tad.apis.inference.results import ResultFolder
from sbp_tad.apis.thumos14_preparation import convert_videos
from sbp_tad.datasets import TemporalDetectionDataset
from sbp_tad.datasets.checks.file_check import find_files
from sbp_tad.datasets.ffmpeg import Conversion
from sbp_tad.paths import UnsafePathError, path_within

ATTACKS = ['../x', 'a/../../x', '/etc/passwd', '..', '', '.', 'a\\..\\..\\x', 'C:\\x', 'C:/x',
           'a\0b', '//host/x', '\\x', './..']
PACKAGE = Path(__file__).parents[1] / 'sbp_tad'


@pytest.mark.parametrize('name', ATTACKS)
def test_attacks_are_refused(name):
    with pytest.raises(UnsafePathError, match='cannot be a file in folder: expected a relative '
                                              'name .*Rename the video'):
        path_within('folder', name)


@pytest.mark.parametrize('name', ['video_test_0000004', 'class/v_-1', 'a..b', '...x', '-x', 'a b',
                                  '12:30 talk', '.hidden', 'ü'])
def test_usual_names_are_taken(name):
    assert path_within('folder', name) == Path('folder') / name


@settings(deadline=None, max_examples=300)
@given(st.text(alphabet='./\\a:C\0 ', max_size=9))
def test_whatever_is_taken_lies_in_the_folder(name):
    try:
        path = path_within('/root/folder', name)
    except UnsafePathError:
        return
    assert Path('/root/folder') in path.resolve().parents


def read_dataset(name, folder):
    path = folder / 'annotations.json'
    path.write_text(json.dumps(dict(database={name: dict(subset='test', annotations=[])})))
    TemporalDetectionDataset(num_frames=4, stride_frames=1, data_root=str(folder),
                             ann_file='annotations.json', subsets=['test'], test_mode=True,
                             metainfo=dict(classes=['a']), pipeline=[])


def convert(name, folder):
    convert_videos(lambda *_: True, {name: None}, folder, folder / 'out', '.mp4',
                   Conversion(), jobs=1)


PLACES = {
    'dataset': read_dataset,
    'extraction': lambda name, folder: ExtractionOptions(folder).path(name),
    'inference': lambda name, folder: ResultFolder(folder, {}).path(InputVideo(name, None)),
    'timeline': lambda name, folder: _picture(folder, InputVideo(name, None)),
    'check': lambda name, folder: find_files(folder, [name]),
    'preparation': convert,
}


@pytest.mark.parametrize('name', ['../x', '{root}/x', 'a/../../x'])
@pytest.mark.parametrize('place', PLACES)
def test_planted_attacks(place, name, tmp_path):
    folder = tmp_path / 'folder'
    folder.mkdir()
    target = tmp_path / 'x'
    np.save(target, 0)
    with pytest.raises(UnsafePathError, match='Rename the video'):
        PLACES[place](name.format(root=tmp_path), folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['folder', 'x.npy']


FORBIDDEN_CALLS = ('eval', 'exec', 'pickle.load', 'pickle.loads', 'pickle.Unpickler', 'yaml.load',
                   'yaml.unsafe_load', 'yaml.full_load', 'os.system')
FORBIDDEN_OPTIONS = (('allow_pickle', True), ('weights_only', False), ('shell', True))


def dangers(source):
    """Calls in a source text that may run what a file holds."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return [ast.unparse(call) for call in calls if ast.unparse(call.func) in FORBIDDEN_CALLS
            or any((option.arg, getattr(option.value, 'value', None)) in FORBIDDEN_OPTIONS
                   for option in call.keywords)]


def test_the_package_executes_nothing_that_it_reads():
    files = [*PACKAGE.rglob('*.py'), *(PACKAGE.parent / 'tools').glob('*.py')]
    found = {path.name: dangers(path.read_text(encoding='utf-8')) for path in files}
    assert len(files) > 100 and not any(found.values()), found


@pytest.mark.parametrize('source', ['eval(text)', 'yaml.load(file)', 'f(x, weights_only=False)'])
def test_such_a_call_would_be_found(source):
    assert dangers(source) == [source] and not dangers('model.eval()')
