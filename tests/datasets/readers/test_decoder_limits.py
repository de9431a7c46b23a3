"""Files of constant frame rate of which a seeking decoder would show frames of other times."""
from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from mmengine.dataset import Compose
from timed_videos import STEADY, expected_seconds, seconds_of, write_timed

from sbp_tad.datasets import VideoReadError, build_pipeline, probe_video
from sbp_tad.datasets.readers.decoder_limits import has_open_gops
from sbp_tad.datasets.readers.frame_times import Packet
from sbp_tad.datasets.readers.video_decoding import read_frames
from sbp_tad.datasets.windows import WindowSize

X265 = {'x265-params': 'log-level=none:bframes=2:open-gop='}
# Name -> codec, B-frames, options.
FILES = {
    'h264.mp4': ('libx264', 0, {}), 'h264_b.mp4': ('libx264', 2, {}),
    'h264_b.mkv': ('libx264', 2, {}), 'h264.ts': ('libx264', 0, {}),
    'vp9.webm': ('libvpx-vp9', 0, {}), 'mpeg4.avi': ('mpeg4', 0, {}),
    'closed.hevc.mp4': ('libx265', 2, {'x265-params': X265['x265-params'] + '0'}),
    'open.hevc.mp4': ('libx265', 2, {'x265-params': X265['x265-params'] + '1'}),
    'open.h264.mkv': ('libx264', 2, {'x264-params': 'open-gop=1:scenecut=0'}),
    'one_key_b.avi': ('mpeg4', 2, {'g': '250'}), 'one_key.wmv': ('wmv2', 0, {'g': '250'}),
    'h264.avi': ('libx264', 0, {}), 'mpeg4_b.avi': ('mpeg4', 2, {}),
    'mpeg4_b.mkv': ('mpeg4', 2, {}), 'mpeg4_b.mp4': ('mpeg4', 2, {}),
    'mpeg2_b.mkv': ('mpeg2video', 2, {}), 'mpeg2_b.mp4': ('mpeg2video', 2, {}),
    'wmv2.wmv': ('wmv2', 0, {}), 'h264_b.ts': ('libx264', 2, {}),
    'mpeg2.ts': ('mpeg2video', 0, {}), 'mpeg4_b.ts': ('mpeg4', 2, {}),
}
TRANSPORT_STREAMS = {'h264_b.ts', 'mpeg2.ts', 'mpeg4_b.ts'}
RIGHT = {'h264.mp4', 'h264_b.mp4', 'h264_b.mkv', 'h264.ts', 'vp9.webm', 'mpeg4.avi',
         'closed.hevc.mp4', 'one_key_b.avi', 'one_key.wmv'}
REFUSED = {'Decord': set(FILES) - RIGHT, 'OpenCV': TRANSPORT_STREAMS}


def write(folder, name):
    codec, b_frames, options = FILES[name]
    return write_timed(folder / name, STEADY, codec=codec, tick=Fraction(1, 25),
                       b_frames=b_frames, **options)


def read(path, decoder, stride=6):
    """Return the times that the frames of one window show."""
    window = WindowSize(12, stride).window(path.stem, 0, 25.0, len(STEADY))
    pipeline = Compose(build_pipeline([dict(type=f'{decoder}Init'), dict(type='SampleWindow'),
                                       dict(type=f'{decoder}Decode')]))
    results = pipeline(dict(filename=str(path), window=window, modality='RGB', start_index=0))
    return [seconds_of(frame) for frame in results['imgs']]


@pytest.mark.parametrize('decoder', REFUSED)
@pytest.mark.parametrize('name', FILES)
def test_decoders_of_mmaction_are_right_or_refused(name, decoder, tmp_path):
    path = write(tmp_path, name)
    if name in REFUSED[decoder]:
        with pytest.raises(VideoReadError, match=f'{name}: this decoder would show wrong frames: '
                                                 '.*Use PyAVSeekDecode'):
            read(path, decoder)
    else:
        seconds = (np.arange(12) + 0.5) * 6 / 25
        np.testing.assert_allclose(read(path, decoder), expected_seconds(STEADY, seconds),
                                   atol=0.006)


@pytest.mark.parametrize('name', FILES)
def test_the_default_decoder_shows_every_frame_after_a_seek(name, tmp_path):
    path = write(tmp_path, name)
    times = probe_video(path).times
    for start in range(0, len(STEADY) - 2, 3):
        frames = read_frames(str(path), range(start, start + 3), times)
        np.testing.assert_allclose([seconds_of(frame) for frame in frames],
                                   STEADY[start:start + 3], atol=0.006)


def test_open_gops():
    def packets(*frames):
        return [Packet(pts, None, 1, is_key) for pts, is_key in frames]
    closed = packets((0, True), (3, False), (1, False), (2, False), (4, True), (5, False))
    assert not has_open_gops(closed)
    assert has_open_gops(packets((0, True), (3, True), (1, False), (2, False)))
    assert not has_open_gops(packets((None, True), (3, False)))
