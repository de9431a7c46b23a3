"""The calls of ffmpeg, made to a script in its place, and to the real one where there is one."""
from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from sbp_tad.datasets.errors import DatasetError
from sbp_tad.datasets.ffmpeg import Conversion, convert_all, extract_frames, find_ffmpeg, reencode
from sbp_tad.datasets.readers.video_header import probe_video

# Writes its arguments beside itself and then what ffmpeg would; fails on a source `bad`.
SCRIPT = '''#!{python}
import pathlib, sys
calls = pathlib.Path(__file__).with_name('calls.txt')
with calls.open('a') as file:
    file.write(' '.join(sys.argv[1:]) + chr(10))
target = pathlib.Path(sys.argv[-1].replace('%05d', '00001'))
target.write_text('half')
if pathlib.Path(sys.argv[sys.argv.index('-i') + 1]).stem == 'bad':
    print('first line', 'moov atom not found', sep=chr(10), file=sys.stderr)
    sys.exit(69)
target.write_text('whole')
'''


@pytest.fixture
def fake_ffmpeg(tmp_path, monkeypatch):
    """An executable `ffmpeg`, alone on the PATH; gives the calls that it received."""
    folder = tmp_path / 'bin'
    folder.mkdir()
    (folder / 'ffmpeg').write_text(SCRIPT.format(python=sys.executable))
    (folder / 'ffmpeg').chmod(0o755)
    monkeypatch.setenv('PATH', str(folder))

    def calls() -> list[list[str]]:
        path = folder / 'calls.txt'
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []
    return calls


def option(call: list[str], name: str) -> str:
    return call[call.index(name) + 1]


def test_without_ffmpeg(tmp_path, monkeypatch):
    monkeypatch.setenv('PATH', str(tmp_path))
    with pytest.raises(DatasetError, match='not on the PATH.*apt install ffmpeg'):
        find_ffmpeg()
    with pytest.raises(DatasetError, match='not on the PATH'):
        convert_all(reencode, {}, Conversion())


def test_reencoding_calls_ffmpeg_and_keeps_what_is_whole(tmp_path, fake_ffmpeg):
    source, target = tmp_path / 'a.avi', tmp_path / 'out' / 'a.mp4'
    assert reencode(source, target, Conversion(fps=29.97, short_side=256, key_frame_every=24))
    assert target.read_text() == 'whole' and os.listdir(target.parent) == ['a.mp4']
    call, = fake_ffmpeg()
    assert option(call, '-i') == str(source) and '-an' in call and '-nostdin' in call
    assert option(call, '-c:v') == 'libx264' and option(call, '-g') == '24'
    assert option(call, '-vf').startswith('fps=29.97,scale=') and '256' in option(call, '-vf')
    assert not reencode(source, target, Conversion()) and len(fake_ffmpeg()) == 1


def test_frames_land_in_a_folder(tmp_path, fake_ffmpeg):
    target = tmp_path / 'frames' / 'a'
    assert extract_frames(tmp_path / 'a.mp4', target, Conversion())
    assert os.listdir(target) == ['img_00001.jpg'] and os.listdir(target.parent) == ['a']
    call, = fake_ffmpeg()
    assert option(call, '-q:v') == '2' and 'fps=' not in option(call, '-vf')
    assert not extract_frames(tmp_path / 'a.mp4', target, Conversion())


@pytest.mark.parametrize('convert, target', [(reencode, 'x.mp4'), (extract_frames, 'x')])
def test_a_failure_leaves_nothing_and_is_tried_again(tmp_path, fake_ffmpeg, convert, target):
    target = tmp_path / 'out' / target
    for _ in range(2):
        with pytest.raises(DatasetError, match=r'bad.mp4: ffmpeg fails with status 69 \(moov atom'):
            convert(tmp_path / 'bad.mp4', target, Conversion())
        assert os.listdir(target.parent) == []
    assert len(fake_ffmpeg()) == 2


def test_what_an_interrupted_run_left_is_written_anew(tmp_path, fake_ffmpeg):
    left = tmp_path / 'out' / '.a.part'
    left.mkdir(parents=True)
    (left / 'img_00009.jpg').write_text('half')
    extract_frames(tmp_path / 'a.mp4', tmp_path / 'out' / 'a', Conversion())
    assert os.listdir(tmp_path / 'out' / 'a') == ['img_00001.jpg'] and not left.exists()


@pytest.mark.parametrize('jobs', [1, 3])
def test_one_failure_does_not_stop_the_others(tmp_path, fake_ffmpeg, jobs):
    names = ['a', 'bad', 'c']
    files = {tmp_path / f'{name}.mp4': tmp_path / 'out' / f'{name}.mp4' for name in names}
    failures = convert_all(reencode, files, Conversion(), jobs)
    assert list(failures) == [tmp_path / 'bad.mp4']
    assert 'moov atom not found' in failures[tmp_path / 'bad.mp4']
    assert sorted(os.listdir(tmp_path / 'out')) == ['a.mp4', 'c.mp4'] and len(fake_ffmpeg()) == 3


@pytest.mark.parametrize('name', ['fps', 'short_side', 'key_frame_every', 'jpeg_quality'])
def test_values_that_cannot_be(name):
    with pytest.raises(DatasetError, match=f'{name} must be above 0, got -1'):
        Conversion(**{name: -1})


@pytest.mark.skipif(shutil.which('ffmpeg') is None, reason='ffmpeg is not on the PATH')
@pytest.mark.parametrize('fps, short_side, num_frames', [(None, None, 40), (5, 24, 20)])
def test_the_real_ffmpeg(tmp_path, small_video: Path, fps, short_side, num_frames):
    conversion = Conversion(fps=fps, short_side=short_side, key_frame_every=10)
    assert reencode(small_video, tmp_path / 'small.mp4', conversion)
    header = probe_video(tmp_path / 'small.mp4')
    assert (header.num_frames, header.fps) == (num_frames, fps or 10)
    assert extract_frames(small_video, tmp_path / 'frames', conversion)
    assert len(os.listdir(tmp_path / 'frames')) == num_frames
    with pytest.raises(DatasetError, match='no.mp4: ffmpeg fails with status .*No such file'):
        reencode(tmp_path / 'no.mp4', tmp_path / 'out.mp4', conversion)
