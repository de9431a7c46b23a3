"""Files of constant frame rate of which a seeking decoder would show frames of other times."""
from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest
from mmengine.dataset import Compose
from timed_videos import STEADY, expected_seconds, seconds_of, write_timed

from sbp_tad.datasets import VideoReadError, build_pipeline, probe_video
from sbp_tad.datasets.readers.decoder_limits import (
    cure_for,
    has_open_gops,
    longest_gop,
    misreading_decoders,
)
from sbp_tad.datasets.readers.display_matrix import Orientation
from sbp_tad.datasets.readers.frame_times import Packet, StreamTiming, presentation
from sbp_tad.datasets.readers.video_decoding import read_frames
from sbp_tad.datasets.windows import WindowSize

X265 = {'x265-params': 'log-level=none:bframes=2:open-gop='}
# Name -> codec, B-frames, options of write_timed and of the encoder.
FILES = {
    'h264.mp4': ('libx264', 0, {}), 'h264_b.mp4': ('libx264', 2, {}),
    'h264_b.mkv': ('libx264', 2, {}), 'h264.ts': ('libx264', 0, {}),
    'vp9.webm': ('libvpx-vp9', 0, {}), 'mpeg4.avi': ('mpeg4', 0, {}),
    'closed.hevc.mp4': ('libx265', 2, {'x265-params': X265['x265-params'] + '0'}),
    'open.hevc.mp4': ('libx265', 2, {'x265-params': X265['x265-params'] + '1'}),
    'open.h264.mkv': ('libx264', 2, {'x264-params': 'open-gop=1:scenecut=0'}),
    'one_key.wmv': ('wmv2', 0, {'g': '250'}), 'one_key_h264.avi': ('libx264', 0, {'g': '250'}),
    'mpeg4.ts': ('mpeg4', 0, {'g': '15'}), 'sound.ts': ('libx264', 0, {'audio_seconds': 2.0}),
    'mpeg4_long.ts': ('mpeg4', 0, {'g': '30'}), 'one_key_b.avi': ('mpeg4', 2, {'g': '250'}),
    'one_key_h264_b.avi': ('libx264', 2, {'g': '250'}),
    'h264.avi': ('libx264', 0, {}), 'mpeg4_b.avi': ('mpeg4', 2, {}),
    'mpeg4_b.mkv': ('mpeg4', 2, {}), 'mpeg4_b.mp4': ('mpeg4', 2, {}),
    'mpeg2_b.mkv': ('mpeg2video', 2, {}), 'mpeg2_b.mp4': ('mpeg2video', 2, {}),
    'wmv2.wmv': ('wmv2', 0, {}), 'h264_b.ts': ('libx264', 2, {}),
    'mpeg2.ts': ('mpeg2video', 0, {}), 'mpeg4_b.ts': ('mpeg4', 2, {}),
}
TRANSPORT_STREAMS = {'h264_b.ts', 'mpeg2.ts', 'mpeg4_b.ts'}
RIGHT = {'h264.mp4', 'h264_b.mp4', 'h264_b.mkv', 'h264.ts', 'vp9.webm', 'mpeg4.avi',
         'closed.hevc.mp4', 'one_key.wmv', 'one_key_h264.avi', 'mpeg4.ts', 'mpeg4_long.ts',
         'sound.ts'}
REFUSED = {'Decord': set(FILES) - RIGHT, 'OpenCV': {*TRANSPORT_STREAMS, 'mpeg4_long.ts'}}
LATE = {'sound.ts': 0.32}  # the video begins later than the sound


def write(folder, name):
    codec, b_frames, options = FILES[name]
    return write_timed(folder / name, LATE.get(name, 0) + STEADY, codec=codec, shown=STEADY,
                       tick=Fraction(1, 25), b_frames=b_frames, **options)


def frames(path, decoder, start=0, stride=1, num_frames=2):
    """Return the frames of a window."""
    window = WindowSize(num_frames, stride).window(path.stem, start, 25.0, len(STEADY))
    pipeline = Compose(build_pipeline([dict(type=f'{decoder}Init'), dict(type='SampleWindow'),
                                       dict(type=f'{decoder}Decode')]))
    return pipeline(dict(filename=str(path), window=window, modality='RGB',
                         start_index=0))['imgs']


def corner(width, height):
    """Return a picture (height, width, 3) with one bright quarter."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:height // 2, :width // 2] = 255
    return pixels


def read(path, decoder):
    """Return sampled seconds of two windows, the second up to the end, and the shown times."""
    seconds, shown = [], []
    for start, stride in ((0, 6), (len(STEADY) - 12, 1)):
        seconds += [(start + (step + 0.5) * stride) / 25 for step in range(12)]
        shown += [seconds_of(frame) for frame in frames(path, decoder, start, stride, 12)]
    return np.array(seconds), np.array(shown)


@pytest.mark.parametrize('decoder', REFUSED)
@pytest.mark.parametrize('name', FILES)
def test_decoders_of_mmaction_are_right_or_refused(name, decoder, tmp_path):
    path = write(tmp_path, name)
    if name in REFUSED[decoder]:
        with pytest.raises(VideoReadError, match=f'{name}: this decoder would show wrong frames: '
                                                 '.*Use PyAVSeekDecode'):
            read(path, decoder)
    else:
        seconds, shown = read(path, decoder)
        np.testing.assert_allclose(shown, expected_seconds(STEADY, seconds - LATE.get(name, 0)),
                                   atol=0.006)


@pytest.mark.parametrize('name', FILES)
def test_the_default_decoder_shows_every_frame_after_a_seek(name, tmp_path):
    path = write(tmp_path, name)
    times = probe_video(path).times
    for start in range(0, len(STEADY) - 2, 3):
        frames = read_frames(str(path), range(start, start + 3), times)
        np.testing.assert_allclose([seconds_of(frame) for frame in frames],
                                   STEADY[start:start + 3], atol=0.006)


@pytest.mark.parametrize('name', ['x.mp4', 'x.mkv'])
@pytest.mark.parametrize('degrees, mirrored', [(0, False), (90, False), (180, False), (0, True),
                                               (270, True)])
def test_turned_and_mirrored_files(degrees, mirrored, name, tmp_path):
    """Decoders that apply no display matrix refuse the file; the others show it upright."""
    path = tmp_path / name
    with av.open(str(path), 'w') as container:
        stream = container.add_stream('libx264', rate=25)
        stream.width, stream.height, stream.pix_fmt = 128, 64, 'yuv420p'
        stream.set_display_rotation(degrees, hflip=mirrored)
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(corner(128, 64), 'rgb24')))
        container.mux(stream.encode(None))
    expected = np.rot90(corner(128, 64), degrees // 90)[:, ::-1 if mirrored else 1]
    for decoder in ('PyAV', 'Decord', 'OpenCV'):
        turns = decoder == 'OpenCV' or decoder == 'Decord' and path.suffix == '.mp4'
        if mirrored or degrees and not turns:
            step = 'mirror' if mirrored and turns else 'turn'
            with pytest.raises(VideoReadError, match=f'it does not {step} frames by the display '
                                                     'matrix of the file. Use PyAVSeekDecode'):
                frames(path, decoder)
        else:
            assert np.abs(frames(path, decoder)[0].astype(int) - expected).mean() < 10
    shown, = read_frames(str(path), [1], probe_video(path).times)
    assert np.abs(shown.astype(int) - expected).mean() < 10


def remux(source, path, first_packet, zero):
    """Copy the packets from one on, and place the second ``zero`` at 0."""
    with av.open(str(source)) as old, av.open(str(path), 'w') as new:
        stream = old.streams.video[0]
        copy, shift = new.add_stream_from_template(stream), round(zero / stream.time_base)
        for number, packet in enumerate(old.demux(stream)):
            if number >= first_packet and packet.dts is not None:
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                packet.stream = copy
                new.mux(packet)
    return path


@pytest.mark.parametrize('name, first_packet, zero, refusals', [
    # key frames are the packets 0, 12, 24 ...
    ('edit_list.mp4', 24, 31 / 25, {'Decord': 'hidden by an edit list'}),
    ('no_key.mkv', 5, 0.0, {'Decord': 'or not decodable'}),
    ('no_key.mp4', 5, 0.0, {'Decord': 'or not decodable', 'OpenCV': 'begin between key frames'}),
    ('declares_1000_fps.mkv', 24, 31 / 25, {})])
def test_parts_that_were_cut_without_encoding(name, first_packet, zero, refusals, tmp_path):
    path = remux(write_timed(tmp_path / f'source{name[-4:]}', STEADY), tmp_path / name,
                 first_packet, zero)
    with av.open(str(path)) as container:
        assert (container.streams.video[0].average_rate == 1000) == (path.suffix == '.mkv')
    header = probe_video(path)
    expected = [seconds_of(frame) for frame in read_frames(str(path), range(40, 42), header.times)]
    start = header.clock.seconds(np.array(40)) * 25
    for decoder in ('PyAV', 'Decord', 'OpenCV'):
        if decoder in refusals:
            with pytest.raises(VideoReadError, match=f'{refusals[decoder]}.*Use PyAVSeekDecode'):
                frames(path, decoder)
        else:
            shown = [seconds_of(frame) for frame in frames(path, decoder, start + 0.01)]
            assert shown == expected


def test_the_cure_for_a_file_that_cannot_be_decoded():
    assert cure_for('OpenCVDecode') == 'Use PyAVSeekDecode (without ...Init), replace the file'
    assert cure_for('PyAVSeekDecode') == cure_for('RawFrameDecode') == 'Replace the file'


@pytest.mark.parametrize('codec', ['av1', 'libdav1d'])
def test_av1_is_refused(codec):
    """OpenCV would never return."""
    packets = [Packet(number, number, 1, True) for number in range(5)]
    timing = StreamTiming(packets, Fraction(1, 25), [25.0], 0.0, 0, None, True, False, False, True,
                          'matroska,webm', codec)
    clock, times = presentation(timing)
    expected = dict.fromkeys(('decord', 'opencv'), 'it decodes no AV1')
    assert misreading_decoders(timing, clock, times, Orientation()) == expected
    assert not misreading_decoders(replace(timing, codec='vp9'), clock, times, Orientation())


def test_longest_gop():
    def packets(*keys):
        return [Packet(number, None, 1, bool(key)) for number, key in enumerate(keys)]
    assert longest_gop(packets(1, 0, 0, 1, 0)) == 3 and longest_gop(packets(0, 0)) == 2
    assert longest_gop(packets(1, 0, 1, 0, 0, 0)) == 4


def test_open_gops():
    def packets(*frames):
        return [Packet(pts, None, 1, is_key) for pts, is_key in frames]
    closed = packets((0, True), (3, False), (1, False), (2, False), (4, True), (5, False))
    assert not has_open_gops(closed)
    assert has_open_gops(packets((0, True), (3, True), (1, False), (2, False)))
    assert not has_open_gops(packets((None, True), (3, False)))
