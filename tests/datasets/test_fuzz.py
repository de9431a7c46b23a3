"""Drawn damage to annotations and video files: a sentence or the right answer, and no hang.

``FUZZ_CASES`` sets how many cases are drawn (500 by default, `make fuzz` takes
10,000), four fifths of them annotations; ``FUZZ_SEED`` sets which.
"""
import json
import os
import random
import signal
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
import pytest
from conftest import frame_numbers, gray_level

from sbp_tad.annotations import (
    AnnotationError,
    check_annotation,
    read_annotations,
    scan_annotations,
)
from sbp_tad.datasets.errors import VideoReadError
from sbp_tad.datasets.readers.video_decoding import read_frames
from sbp_tad.datasets.readers.video_header import probe_video

NUM_CASES = int(os.environ.get('FUZZ_CASES', 500))
SEED = int(os.environ.get('FUZZ_SEED', 0))
NUM_FRAMES = 30
CASE_SECONDS = 20


@contextmanager
def time_limit(what):
    """A hang is an error that names its case."""
    def interrupt(*_):
        raise AssertionError(f'{what} took more than {CASE_SECONDS} s')
    before = signal.signal(signal.SIGALRM, interrupt)
    signal.alarm(CASE_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


# ---------------------------------------------------------------- annotations
VALUES = [None, True, 0, -1, 1, 3.5, 1e308, -1e308, 10**400, float('nan'), float('inf'), '', 'a',
          'ü\0', '../x', [], [1], [1, 2], [2, 1], ['1', '2'], [None, 1], {}, {'a': 1}, '7.5',
          'nan', '1e999']
SOUND = {'database': {f'video_{number}': {
    'subset': 'test', 'duration': 10.0, 'fps': 25, 'annotations': [
        {'segment': [1.0, 2.0], 'label': 'a'}, {'segment': [3, 5], 'label': 'b'}]}
    for number in range(2)}}


def places(node, path=()):
    """The paths of all values below a node."""
    items = node.items() if isinstance(node, dict) else \
        enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from places(value, (*path, key))


def damage_tree(draw):
    """The sound annotation with one to three values replaced, removed or renamed."""
    content = json.loads(json.dumps(SOUND))
    for _ in range(draw.randint(1, 3)):
        *path, key = draw.choice(list(places(content)) or [()]) or [None]
        if key is None:
            return draw.choice(VALUES)
        node = content
        for step in path:
            node = node[step]
        how = draw.randrange(3)
        if how == 0:
            node[key] = draw.choice(VALUES)
        elif how == 1:
            del node[key]
        elif isinstance(node, dict):
            node[draw.choice(['', 'segment', 'fps', 'frames', 'x'])] = node.pop(key)
    return content


def damage_bytes(draw, content):
    """A file cut off, or with bytes changed, cut out, doubled or zeroed."""
    content = bytearray(content)
    for _ in range(draw.randint(1, 3)):
        start = draw.randrange(max(1, len(content)))
        end = min(len(content), start + draw.choice([1, 4, 64, 1024]))
        how = draw.randrange(5)
        if how == 0:
            del content[start:]
        elif how == 1:
            content[start:end] = draw.randbytes(end - start)
        elif how == 2:
            del content[start:end]
        elif how == 3:
            content[start:start] = content[start:end]
        else:
            content[start:end] = bytes(end - start)
    return bytes(content)


def check_sound(video):
    """Check the properties of an annotation that the reader accepts."""
    assert video.segments_seconds.shape == (len(video.labels), 2)
    assert np.isfinite(video.segments_seconds).all()
    for value in (video.duration_seconds, video.fps):
        assert value is None or 0 < value < float('inf')
    try:
        checked = check_annotation(video, ['a', 'b'])
    except AnnotationError:
        return
    start, end = checked.segments_seconds.T
    assert (start < end).all() and set(checked.labels) <= {'a', 'b'}


def test_damaged_annotations(tmp_path):
    path, sentences = tmp_path / 'x.json', 0
    for case in range(NUM_CASES * 4 // 5):
        draw = random.Random(f'{SEED} annotation {case}')
        text = json.dumps(damage_tree(draw)).encode()
        path.write_bytes(text if draw.random() < 0.7 else damage_bytes(draw, text))
        with time_limit(f'seed {SEED}, annotation {case}'):
            for read in (read_annotations, lambda path: scan_annotations(path)[0]):
                try:
                    videos = read(path)
                except AnnotationError as error:
                    sentences += str(error).startswith(str(path))
                else:
                    for video in videos.values():
                        check_sound(video)
    assert sentences > NUM_CASES // 5  # the damage is real


# ---------------------------------------------------------------- videos
def encode(path, num_frames=NUM_FRAMES, size=(64, 48), timestamps=None, codec='libx264'):
    """Frame ``i`` has the gray level of ``i``."""
    with av.open(str(path), 'w') as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height = size
        stream.pix_fmt = 'yuv444p' if size[0] % 2 else 'yuv420p'
        stream.options = {'crf': '0', 'g': '12', 'preset': 'ultrafast'} if codec == 'libx264' \
            else {'qmin': '1', 'qmax': '1'}
        for index in range(num_frames):
            pixels = np.full((*size[::-1], 3), gray_level(index), np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format='rgb24')
            frame.pts = timestamps[index] if timestamps else index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def encode_audio(path):
    with av.open(str(path), 'w') as container:
        stream = container.add_stream('aac', rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), 'fltp', 'mono')
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def patch(source, path, box, offset, value):
    """Overwrite a field of an mp4's header."""
    content = bytearray(source.read_bytes())
    place = content.index(box) + 4 + offset
    content[place:place + len(value)] = value
    path.write_bytes(content)
    return path


def without_key_frame(source, path):
    """The same stream from its second packet on."""
    with av.open(str(source)) as old, av.open(str(path), 'w') as new:
        stream = old.streams.video[0]
        copy = new.add_stream_from_template(stream)
        for packet in [packet for packet in old.demux(stream) if packet.dts is not None][1:]:
            packet.stream = copy
            new.mux(packet)
    return path


@pytest.fixture(scope='module')
def videos(tmp_path_factory):
    """Name -> file and whether it must be read."""
    folder = tmp_path_factory.mktemp('fuzz')
    plain = encode(folder / 'plain.mp4')
    one = (1 << 16).to_bytes(4, 'big')
    turn = b''.join([bytes(4), one, bytes(4), (-(1 << 16)).to_bytes(4, 'big', signed=True)])
    (folder / 'empty.mp4').touch()
    (folder / 'wrong_suffix.avi').write_bytes(plain.read_bytes())
    (folder / 'text.mp4').write_text('no video')
    times = np.cumsum(np.random.default_rng(0).integers(1, 4, NUM_FRAMES)).tolist()
    return {
        'plain': (plain, True), 'empty': (folder / 'empty.mp4', False),
        'text': (folder / 'text.mp4', False), 'audio': (encode_audio(folder / 'a.mp4'), False),
        'wrong_suffix': (folder / 'wrong_suffix.avi', True),
        'avi': (encode(folder / 'x.avi', codec='mpeg4'), True),
        'variable': (encode(folder / 'variable.mkv', timestamps=times), True),
        'one_frame': (encode(folder / 'one.mp4', num_frames=1), True),
        'odd': (encode(folder / 'odd.mp4', size=(63, 47)), True),
        'rotated': (patch(plain, folder / 'rotated.mp4', b'tkhd', 40, turn), True),
        'long': (patch(plain, folder / 'long.mp4', b'mvhd', 16, b'\x7f\xff\xff\xff'), True),
        'long_media': (patch(plain, folder / 'long_m.mp4', b'mdhd', 16, b'\x7f\xff\xff\xff'), None),
        'no_key_frame': (without_key_frame(plain, folder / 'no_key.mkv'), None)}


def read_all(path, check_pixels=True):
    """Every frame that the header promises, or a sentence; True where there were frames."""
    try:
        header = probe_video(path)
        assert 0 < header.fps < float('inf') and 0 < header.num_frames <= 10 * NUM_FRAMES
        indices = list(range(header.num_frames))
        frames = read_frames(str(path), indices, header.times)
    except VideoReadError as error:
        assert str(path) in str(error)
        return False
    except av.error.FFmpegError:  # which a data set says in a sentence
        return False
    assert len(frames) == header.num_frames and len({frame.shape for frame in frames}) >= 1
    if check_pixels:
        assert frame_numbers(np.stack(frames)).tolist() == indices
    return True


@pytest.mark.parametrize('name', ['plain', 'empty', 'text', 'audio', 'wrong_suffix', 'avi',
                                  'variable', 'one_frame', 'odd', 'rotated', 'long', 'long_media',
                                  'no_key_frame'])
def test_unusual_files_show_their_frames_or_a_sentence(name, videos):
    path, readable = videos[name]
    with time_limit(name):
        found = read_all(path, check_pixels=readable is not None)
    assert readable is None or found is readable


def test_a_file_that_is_cut_off_shows_no_wrong_frame(videos, tmp_path):
    content = videos['variable'][0].read_bytes()
    for share in (0.3, 0.5, 0.7, 0.9):
        path = tmp_path / f'{share}.mkv'
        path.write_bytes(content[:int(share * len(content))])
        read_all(path)


def test_an_unknown_codec_is_a_sentence(videos, tmp_path):
    path = tmp_path / 'x.mp4'
    path.write_bytes(videos['plain'][0].read_bytes().replace(b'avc1', b'\0\0\0\0'))
    with pytest.raises(VideoReadError, match='x.mp4: no decoder knows the codec of the video'):
        probe_video(path)


def test_a_title_of_any_bytes_does_not_matter(videos, tmp_path):
    content = videos['variable'][0].read_bytes()
    name = b'Lavf'
    path = tmp_path / 'x.mkv'
    path.write_bytes(content.replace(name, b'\xef\xff\xfe\xef'))
    assert name in content and read_all(path)


def test_damaged_videos(videos, tmp_path):
    """Inside the file only the number and form of frames can be checked, not their pixels."""
    sources = [path.read_bytes() for path, readable in videos.values() if readable]
    read = 0
    av.logging.set_level(av.logging.PANIC)
    for case in range(NUM_CASES // 5):
        draw = random.Random(f'{SEED} video {case}')
        path = Path(tmp_path / f'{case}.mp4')
        path.write_bytes(damage_bytes(draw, draw.choice(sources)))
        with time_limit(f'seed {SEED}, video {case}'):
            read += read_all(path, check_pixels=False)
        path.unlink()
    assert 0 < read < NUM_CASES // 5
