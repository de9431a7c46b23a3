"""``tools/prepare_thumos14.py`` as it is called."""
import json
import os
import shutil
from functools import partial

import pytest

NAMES = ('video_validation_0000051', 'video_test_0000004')


@pytest.fixture
def run(call_tool):
    """Call the tool in this process; returns (status, stdout, stderr)."""
    return partial(call_tool, 'prepare_thumos14')


@pytest.fixture
def data_root(tmp_path, small_video):
    """Two videos of 4 s at 10 fps and the published annotation of them."""
    root = tmp_path / 'thumos14'
    for folder in ('videos', 'published'):
        (root / folder).mkdir(parents=True)
    for name, ending in zip(NAMES, ('val', 'test')):
        shutil.copy(small_video, root / 'videos' / f'{name}.mp4')
        (root / 'published' / f'Diving_{ending}.txt').write_text(f'{name} 1.0 2.0\n')
    rows = ['video,fps,count', *(f'{name},10.0,40.0' for name in NAMES)]
    (root / 'info.csv').write_text('\n'.join(rows))
    return root


def test_from_published_files_to_a_clean_report(run, data_root, tmp_path):
    out = tmp_path / 'out.json'
    status, printed, _ = run('--data-root', data_root, '--official', data_root / 'published',
                             '--info', data_root / 'info.csv', '--json', out)
    assert (status, 'Clean' in printed, 'validation' in printed) == (0, True, True)
    assert json.loads(out.read_text())['subsets'] == {
        subset: dict(videos=1, segments=1) for subset in ('test', 'validation')}
    status, _, errors = run('--data-root', data_root, '--official', data_root / 'published')
    assert status == 2 and 'exists already' in errors


def test_mismatches_are_printed_written_and_status_1(run, data_root, tmp_path):
    out, videos = tmp_path / 'out.json', data_root / 'videos'
    arguments = ('--data-root', data_root, '--official', data_root / 'published', '--json', out)
    (videos / f'{NAMES[0]}.mp4').rename(videos / 'another.mp4')
    status, printed, _ = run(*arguments)
    assert status == 1
    assert 'missing-file (1)' in printed and 'unlisted-file (1)' in printed
    report = json.loads(out.read_text())
    assert report['clean'] is False
    assert {found['subject'] for found in report['findings']} == {NAMES[0], 'another.mp4'}
    (videos / 'another.mp4').rename(videos / f'{NAMES[0]}.mp4')
    shutil.copy(videos / f'{NAMES[0]}.mp4', videos / 'another.mp4')
    assert run('--data-root', data_root)[0] == 1
    assert run('--data-root', data_root, '--allow-extra')[0] == 0


def test_without_ffmpeg_or_annotation_it_says_so(run, data_root, tmp_path, monkeypatch):
    status, _, errors = run('--data-root', data_root)
    assert status == 2 and 'thumos14.json: no such annotation file' in errors
    monkeypatch.setenv('PATH', str(tmp_path))
    for option in ('--reencode', '--extract-frames'):
        shutil.rmtree(data_root / 'annotations', ignore_errors=True)
        status, _, errors = run('--data-root', data_root, '--official', data_root / 'published',
                                option, tmp_path / 'converted')
        assert status == 2 and 'ffmpeg is not on the PATH' in errors
        first, *rest = errors.splitlines()
        assert first.startswith('Checking ') and len(rest) == 1
    status, _, errors = run('--data-root', data_root, '--json', tmp_path / 'none' / 'out.json')
    assert status == 2 and 'out.json cannot be written: the folder' in errors


@pytest.mark.skipif(shutil.which('ffmpeg') is None, reason='ffmpeg is not on the PATH')
def test_reencoded_files_are_checked_and_used(run, data_root, tmp_path):
    copies, frames = tmp_path / 'copies', tmp_path / 'frames'
    status, printed, _ = run('--data-root', data_root, '--official', data_root / 'published',
                             '--info', data_root / 'info.csv', '--reencode', copies,
                             '--extract-frames', frames, '--fps', 5, '--short-side', 24)
    assert (status, 'Clean' in printed) == (0, True)
    assert sorted(os.listdir(copies)) == sorted(f'{name}.mp4' for name in NAMES)
    assert {len(os.listdir(frames / name)) for name in NAMES} == {20}
    changed = (copies / f'{NAMES[0]}.mp4').stat().st_mtime_ns
    assert run('--data-root', data_root, '--reencode', copies, '--fps', 5)[0] == 0
    assert (copies / f'{NAMES[0]}.mp4').stat().st_mtime_ns == changed, 'what is there stays'
