"""PyAVSeekDecode shows the frames that decoding everything shows, whatever the file."""
from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import decord
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sbp_tad.apis.inference.stream_sources import open_stream
from sbp_tad.datasets import PyAVSeekDecode, probe_video
from sbp_tad.datasets.errors import VideoReadError
from sbp_tad.datasets.readers import video_decoding
from sbp_tad.datasets.readers.video_decoding import read_frames

NUM_FRAMES = 100
FILES = {
    'b_frames.mp4': dict(g='12', bf='3'),
    'long_gop.mkv': dict(g='250', bf='3'),
    'open_gop.mp4': dict(g='10', bf='3', **{'x264-params': 'open-gop=1:b-adapt=0'}),
    'references_only.mp4': dict(g='12', bf='0'),
    'mpeg4.mp4': dict(codec='mpeg4', g='12', bf='2'),
    'b_frames.avi': dict(codec='mpeg4', g='12', bf='2'),  # stores no time stamps
    'no_b_frames.avi': dict(codec='mpeg4', g='12', bf='0'),
    'vp9.webm': dict(codec='libvpx-vp9', g='30', deadline='realtime', **{'cpu-used': '8'}),
}
DERIVED = ('variable_rate.mkv', 'cut.mp4', 'upside_down.mp4', 'quarter_turn.mp4')


def encode(path: Path, codec: str = 'libx264', timestamps: list[int] | None = None,
           **options: str) -> Path:
    """A moving texture, so that no two frames are alike."""
    texture = cv2.GaussianBlur(
        np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8), (0, 0), 2)
    with av.open(str(path), 'w') as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, 'yuv420p'
        stream.codec_context.time_base = Fraction(1, 25)
        stream.options = options
        for index, timestamp in enumerate(timestamps or range(NUM_FRAMES)):
            pixels = np.ascontiguousarray(texture[index:index + 48, 3 * index:3 * index + 64])
            frame = av.VideoFrame.from_ndarray(pixels, format='rgb24')
            frame.pts, frame.time_base = timestamp, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def cut(source: Path, path: Path, first: int) -> Path:
    """Copy the stream from the key frame before a frame; an edit list hides what is before it."""
    with av.open(str(source)) as old, av.open(str(path), 'w') as new:
        stream = old.streams.video[0]
        copy = new.add_stream_from_template(stream)
        begin = first * round(1 / (25 * stream.time_base))
        old.seek(begin, stream=stream)
        for packet in old.demux(stream):
            if packet.dts is not None:
                packet.pts, packet.dts = packet.pts - begin, packet.dts - begin
                packet.stream = copy
                new.mux(packet)
    return path


def turn(source: Path, path: Path, matrix: list[int]) -> Path:
    """The same stream with another display matrix in its track header."""
    content = bytearray(source.read_bytes())
    place = content.index(b'tkhd') + 4 + 40
    content[place:place + 36] = b''.join(value.to_bytes(4, 'big', signed=True)
                                         for value in matrix)
    path.write_bytes(content)
    return path


@pytest.fixture(scope='module')
def videos(tmp_path_factory):
    """All files, by name."""
    folder = tmp_path_factory.mktemp('decoding')
    files = {name: encode(folder / name, **options) for name, options in FILES.items()}
    times = np.cumsum(np.random.default_rng(0).integers(1, 4, NUM_FRAMES)).tolist()
    files['variable_rate.mkv'] = encode(folder / 'variable_rate.mkv', timestamps=times, g='12')
    plain, one = files['references_only.mp4'], 1 << 16
    files['cut.mp4'] = cut(plain, folder / 'cut.mp4', first=30)
    files['upside_down.mp4'] = turn(plain, folder / 'upside_down.mp4', [
        -one, 0, 0, 0, -one, 0, 64 * one, 48 * one, 1 << 30])
    files['quarter_turn.mp4'] = turn(plain, folder / 'quarter_turn.mp4', [
        0, one, 0, -one, 0, 0, 48 * one, 0, 1 << 30])
    return files


@pytest.fixture(scope='module')
def everything(videos):
    """Every frame of every file by the slow way, (n, H, W, 3)."""
    shown = {}
    for name, path in videos.items():
        with av.open(str(path)) as container:
            shown[name] = np.stack([frame.to_rgb().to_ndarray()
                                    for frame in container.decode(video=0)])
    shown['upside_down.mp4'] = shown['upside_down.mp4'][:, ::-1, ::-1]
    shown['quarter_turn.mp4'] = np.rot90(shown['quarter_turn.mp4'], -1, axes=(1, 2))  # clockwise
    return shown


@pytest.mark.parametrize('mirrors', [{}, {'hflip': True}, {'vflip': True}])
@pytest.mark.parametrize('degrees', [0, 90, 180, 270])
def test_frames_are_turned_and_mirrored_as_players_do(degrees, mirrors, tmp_path):
    path = tmp_path / 'x.mp4'
    texture = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    pixels = cv2.resize(texture, (64, 48), interpolation=cv2.INTER_NEAREST)
    with av.open(str(path), 'w') as container:
        stream = container.add_stream('libx264', rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, 'yuv420p'
        stream.set_display_rotation(degrees, **mirrors)  # counterclockwise, mirrored after it
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format='rgb24')))
        container.mux(stream.encode(None))
    with av.open(str(path)) as container:
        stored = next(container.decode(video=0)).to_ndarray(format='rgb24')
    expected = np.rot90(stored, degrees // 90)
    expected = expected[:, ::-1] if 'hflip' in mirrors else expected
    expected = expected[::-1] if 'vflip' in mirrors else expected
    shown, = read_frames(str(path), [1], probe_video(path).times)
    np.testing.assert_array_equal(shown, expected)
    stream = open_stream(path)
    np.testing.assert_array_equal(stream.pixels(next(stream.frames)[1]), expected)
    if 'vflip' not in mirrors and 'hflip' not in mirrors:
        np.testing.assert_array_equal(opencv_frames(path)[1], expected)


def damaged(source: Path, path: Path, packets: range) -> Path:
    """The same file with noise in the place of some packets, which then decode to nothing."""
    content = bytearray(source.read_bytes())
    with av.open(str(source)) as container:
        for number, packet in enumerate(container.demux(video=0)):
            if number in packets:
                content[packet.pos:packet.pos + packet.size] = b'\xff' * packet.size
    path.write_bytes(content)
    return path


def test_lost_packets_at_the_end_repeat_the_last_frame(videos, everything, tmp_path):
    name = 'references_only.mp4'
    path = str(damaged(videos[name], tmp_path / name, range(NUM_FRAMES - 2, NUM_FRAMES)))
    for times in (probe_video(path).times, None):
        np.testing.assert_array_equal(read_frames(path, [0, 97, 98, 99], times),
                                      everything[name][[0, 97, 97, 97]])


def test_lost_frames_in_the_middle_repeat_the_one_before(videos, everything, tmp_path):
    """Numbers of later frames do not change."""
    path = str(damaged(videos['no_b_frames.avi'], tmp_path / 'x.avi', range(50, 53)))
    times = probe_video(path).times
    shown = read_frames(path, [49, 50, 52, 72], times)
    np.testing.assert_array_equal(shown, everything['no_b_frames.avi'][[49, 49, 49, 72]])


def test_a_long_damage_is_a_sentence(videos, tmp_path):
    path = str(damaged(videos['references_only.mp4'], tmp_path / 'x.mp4', range(30, 70)))
    assert len(read_frames(path, [10, 40], probe_video(path).times)) == 2
    with pytest.raises(VideoReadError, match='x.mp4: frame 55 cannot be decoded'):
        read_frames(path, [10, 55], probe_video(path).times)


def opencv_frames(path: Path) -> np.ndarray:
    """Every frame in the order in which OpenCV shows them."""
    capture, frames = cv2.VideoCapture(str(path)), []
    while (read := capture.read())[0]:
        frames.append(cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB))
    return np.stack(frames)


@pytest.mark.parametrize('name', [*FILES, *DERIVED])
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_frames_are_those_of_decoding_everything(name, data, videos, everything):
    path, expected = str(videos[name]), everything[name]
    header = probe_video(path)
    assert header.num_frames == len(expected)
    indices = data.draw(st.lists(st.integers(0, len(expected) - 1), min_size=1, max_size=12))
    for times in (header.times, None):
        np.testing.assert_array_equal(read_frames(path, indices, times), expected[indices])


@pytest.mark.parametrize('name', [*FILES, *DERIVED])
def test_opencv_shows_the_same(name, videos, everything):
    np.testing.assert_array_equal(opencv_frames(videos[name]), everything[name])


# Not of open_gop.mp4 and cut.mp4, where decord 0.6.0 shows other frames after it has sought.
@pytest.mark.parametrize('name', ['b_frames.mp4', 'long_gop.mkv', 'references_only.mp4'])
def test_decord_shows_the_same(name, videos, everything):
    indices = np.arange(1, len(everything[name]), 4)
    frames = decord.VideoReader(str(videos[name]), num_threads=1).get_batch(indices).asnumpy()
    np.testing.assert_array_equal(read_frames(str(videos[name]), indices.tolist(),
                                              probe_video(videos[name]).times), frames)


def test_a_cut_hides_the_frames_before_it(videos, everything):
    assert len(everything['cut.mp4']) == NUM_FRAMES - 30
    np.testing.assert_array_equal(everything['cut.mp4'], everything['references_only.mp4'][30:])
    with av.open(str(videos['cut.mp4'])) as container:  # what a decoder may claim
        assert container.streams.video[0].frames > NUM_FRAMES - 30


@pytest.mark.parametrize('name', [name for name in (*FILES, *DERIVED) if name != 'b_frames.avi'])
def test_one_seek_is_enough(name, videos, monkeypatch):
    """Only AVI with B-frames is decoded from its beginning."""
    monkeypatch.delattr(video_decoding, '_read_before')
    monkeypatch.delattr(video_decoding, '_read_by_count')
    header = probe_video(videos[name])
    for index in range(0, header.num_frames, 7):
        assert len(read_frames(str(videos[name]), [index], header.times)) == 1


def test_reordered_avi_tells_no_times(videos):
    assert probe_video(videos['b_frames.avi']).times is None


def test_frames_between_are_not_decoded_where_none_needs_them(videos, monkeypatch):
    """Of H.264 with B-frames fewer frames come out of the decoder than the window spans."""
    decoded = []
    decode = video_decoding._upright_pixels
    monkeypatch.setattr(video_decoding, '_upright_pixels',
                        lambda frames: decode(decoded.append(item) or item for item in frames))
    path = str(videos['b_frames.mp4'])
    read_frames(path, [1, 50], probe_video(path).times)
    assert [number for number, _ in decoded] == [1, 50]
    with av.open(path) as container:
        stream = container.streams.video[0]
        timestamps = {int(probe_video(path).times.timestamps[50]): 50}
        frames = []
        for packet in container.demux(stream):
            stream.codec_context.skip_frame = (
                'DEFAULT' if packet.pts in timestamps else 'NONREF')
            frames += packet.decode()
    assert len(frames) < 0.7 * NUM_FRAMES


def test_repeated_frames_share_no_memory(videos):
    path = str(videos['b_frames.mp4'])
    first, again, other = read_frames(path, [5, 5, 6], probe_video(path).times)
    np.testing.assert_array_equal(first, again)
    first[:] = 0
    assert again.any() and other.any()


def test_wrong_times_are_noticed(videos, everything):
    """Time stamps that no frame has: the last frame before each is shown."""
    path = str(videos['b_frames.mp4'])
    times = probe_video(path).times
    wrong = type(times)(times.timestamps + 1, times.key_frames)
    np.testing.assert_array_equal(read_frames(path, [40], wrong), everything['b_frames.mp4'][[40]])


def test_a_missing_frame_is_a_sentence(videos, everything):
    path = str(videos['b_frames.mp4'])
    with pytest.raises(VideoReadError, match='b_frames.mp4: frame 120 cannot be decoded. Replace'):
        read_frames(path, [3, 100, 120])
    np.testing.assert_array_equal(read_frames(path, [3, 100]),
                                  everything['b_frames.mp4'][[3, 99]])  # one frame too many


def test_transform_sets_what_mmaction_sets(videos):
    indices = np.array([[2], [6]])
    out = PyAVSeekDecode()(dict(filename=str(videos['b_frames.mp4']), frame_inds=indices))
    assert [image.shape for image in out['imgs']] == [(48, 64, 3)] * 2
    assert out['img_shape'] == out['original_shape'] == (48, 64)
    assert all(image.flags.c_contiguous and image.dtype == np.uint8 for image in out['imgs'])
