"""``tools/check_dataset.py`` as it is called: report, JSON, exit status."""
from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOY = str(ROOT / 'configs/toy/actionformer_r3d10_sbp-r4_toy.py')
ITEMS = [dict(segment=[5 * i, 5 * i + 3], label=('pour', 'stir')[i % 2]) for i in range(20)]


@pytest.fixture
def run(call_tool):
    """Call the tool in this process; returns (status, stdout, stderr)."""
    return partial(call_tool, 'check_dataset')


@pytest.fixture
def annotation(write_annotation):
    """Writes a set of one video with a change."""
    def write(**change):
        return write_annotation({'v': {**dict(subset='training', duration=110, fps=24,
                                              annotations=ITEMS), **change}})
    return write


def test_clean_json_with_advice(run, annotation, tmp_path):
    status, printed, errors = run(annotation(), '--json', tmp_path / 'out.json')
    assert status == 0 and errors.startswith('Checking ') and len(errors.splitlines()) == 1
    for text in ('Clean: no findings.', 'Advice for training', 'num_levels', '100.00 %',
                 'windows = dict(num_frames=', 'give a config with --model'):
        assert text in printed
    content = json.loads((tmp_path / 'out.json').read_text())
    assert content['clean'] and content['findings'] == [] and content['memory'] is None
    assert content['subsets'] == {'training': dict(videos=1, segments=20)}
    assert content['advice']['stride_frames'] == 6 and content['statistics']['longest'] == 3


def test_memory_of_another_config(run, annotation):
    status, printed, _ = run(annotation(), '--model', TOY)
    assert status == 0
    assert 'saved for backward, keep ratio 0.25, as in the config' in printed
    assert 'measured: backbone at one and two clips' in printed


def test_errors_are_status_1_and_examples_are_few(run, annotation, tmp_path):
    items = [dict(segment=[i + 1, i], label='pour') for i in range(9)]
    status, printed, _ = run(annotation(annotations=ITEMS + items), '--json', tmp_path / 'o.json')
    assert status == 1
    assert 'error reversed-segment (9): Swap or remove the ends' in printed
    assert '... and 6 more' in printed and '9 errors, 0 warnings, 0 notes.' in printed
    content = json.loads((tmp_path / 'o.json').read_text())
    assert not content['clean'] and len(content['findings']) == 9
    assert content['findings'][0] == dict(
        severity='error', kind='reversed-segment', subject='v',
        message="[1, 0] s 'pour' must start before it ends.")


def test_segments_without_length_are_warnings_as_in_training(run, annotation):
    path = annotation(annotations=[*ITEMS, dict(segment=[5, 5], label='pour')])
    status, printed, _ = run(path)
    assert status == 0 and 'warning zero-length-segment (1): The dataset drops it' in printed


def test_warnings_count_when_strict(run, annotation):
    path = annotation(fps=500)
    assert run(path)[0] == 0 and run(path, '--strict')[0] == 1


def test_options_of_a_json(run, annotation, tmp_path):
    path = annotation()
    status, printed, _ = run(path, '--classes', 'pour', '--subsets', 'training', '--videos',
                             tmp_path, '--ignore-label')
    assert status == 1 and 'unknown-label' in printed and 'missing-file' in printed
    assert run(path, '--classes', 'pour', '--ignore-label', 'stir')[0] == 0


def test_files_that_the_dataset_does_not_open(run, write_annotation, write_video, tmp_path):
    """Other extensions and prefixes are found, read and named with the template that opens them."""
    items = dict(subset='training', annotations=[dict(segment=[1, 3], label='pour')])
    path = write_annotation({'a': items, 'b': items, 'c.mp4': items, 'd': items})
    folder = tmp_path / 'videos'
    folder.mkdir()
    for name in ('a.avi', 'v_b.mp4', 'c.mp4', 'd.mp4'):
        write_video(folder / name, 100)
    status, printed, _ = run(path, '--videos', folder)
    assert status == 0 and 'warning other-file-name (3): Set filename_template' in printed
    for text in ("a.mp4: no such file, but a.avi exists. Its name follows "
                 "filename_template='{video_id}.avi'", "filename_template='v_{video_id}.mp4'",
                 "c.mp4.mp4: no such file, but c.mp4 exists. Its name follows "
                 "filename_template='{video_id}'"):
        assert text in printed
    assert run(path, '--videos', folder, '--strict')[0] == 1
    _, printed, _ = run(path, '--videos', folder, '--filename-template', '{video_id}.avi')
    assert 'other-file-name (3)' in printed and '/a.avi: no such file' not in printed
    status, _, errors = run(path, '--videos', folder, '--filename-template', '{name}.avi')
    assert status == 2 and 'filename_template may have {video_id} and no other field' in errors


def test_a_bad_id_does_not_end_the_check(run, write_annotation, write_video, tmp_path):
    items = dict(subset='training', annotations=[dict(segment=[1, 3], label='pour')])
    path = write_annotation({'../a': items, 'x' * 300: items, '/b': items, 'good': items,
                             '\ud800': items, '': items, 'c\0d': items, 'folder': items})
    (tmp_path / 'videos' / 'folder.mp4').mkdir(parents=True)
    write_video(tmp_path / 'videos' / 'good.mp4', 100)
    status, printed, errors = run(path, '--videos', tmp_path / 'videos')
    assert status == 1 and 'error unsafe-id (4): Rename the video' in printed, errors
    assert "'../a' cannot be a file in" in printed and 'unreadable-file (2)' in printed
    assert 'fps-mismatch' not in printed and '7 errors' in printed


def test_config(run, tmp_path, write_video):
    (tmp_path / 'videos').mkdir()
    database = {}
    for name in ('training', 'test'):
        write_video(tmp_path / 'videos' / f'{name}.mp4', 100)
        database[name] = dict(subset=name, duration=10, fps=10, annotations=[
            dict(segment=[1, 4], label='approach')])
    (tmp_path / 'annotations.json').write_text(json.dumps(dict(database=database)))
    options = ['--cfg-options', *(f'{role}_dataloader.dataset.data_root={tmp_path}'
                                  for role in ('train', 'val', 'test'))]
    status, printed, _ = run(TOY, *options)
    assert status == 0, 'classes without segments are warnings'
    assert 'warning class-without-segments' in printed and 'the config now' in printed
    (tmp_path / 'videos' / 'test.mp4').rename(tmp_path / 'videos' / 'test.mkv')
    status, printed, _ = run(TOY, *options)
    assert status == 1
    assert "test.mp4: no such file. test.mkv exists. Its name follows filename_template=" in printed
    assert run(TOY, '--no-files', *options)[0] == 0


@pytest.mark.parametrize('arguments, message', [
    (['none.json'], 'none.json: no such annotation file'),
    (['none.py'], 'config none.py'),
    (['good.json', '--coverage', '2'], 'coverage must lie in (0, 1], got 2'),
    (['good.json', '--videos', 'none'], 'none: no such folder of videos'),
    (['good.json', '--json', 'none/out.json'],
     '--json none/out.json cannot be written: the folder none does not exist'),
])
def test_bad_input_is_a_sentence_and_status_2(run, write_annotation, tmp_path, monkeypatch,
                                              arguments, message):
    write_annotation({'v': dict(subset='x', annotations=ITEMS)}, 'good.json')
    monkeypatch.chdir(tmp_path)
    status, _, errors = run(*arguments)
    assert status == 2 and message in errors
