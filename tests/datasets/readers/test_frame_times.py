"""Times of packets become the clock of a video, whatever is missing or wrong."""
from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest
from timed_videos import SIZE, joined, picture, seconds_of, write_timed

from sbp_tad.datasets.frame_clock import FrameClock
from sbp_tad.datasets.readers.frame_times import FrameTimes, Packet, StreamTiming, presentation
from sbp_tad.datasets.readers.video_decoding import read_frames
from sbp_tad.datasets.readers.video_header import probe_video


def timing(pts, dts=None, durations=None, keys=(0,), **changes) -> StreamTiming:
    """Timing of a stream at 25 fps and 40 ms per frame, in ms."""
    dts = pts if dts is None else dts
    durations = [40] * len(pts) if durations is None else durations
    packets = [Packet(*times, number in keys)
               for number, times in enumerate(zip(pts, dts, durations))]
    plain = StreamTiming(packets, Fraction(1, 1000), [25.0], 0.0, 0, None, True, False, False, True,
                         'matroska', 'h264')
    return replace(plain, **changes)


def starts(clock: FrameClock) -> list[int]:
    return np.round(1000 * clock.seconds(np.arange(clock.num_frames))).astype(int).tolist()


STEADY = list(range(0, 400, 40))


def test_packets_are_sorted_by_presentation():
    clock, times = presentation(timing([0, 160, 40, 500], keys=(0, 1)))
    assert starts(clock) == [0, 40, 160, 500] and clock.end_seconds == pytest.approx(0.54)
    assert times.timestamps.tolist() == [0, 40, 160, 500]
    assert times.key_frames.tolist() == [True, False, True, False]
    assert [times.key_frame_before(index) for index in range(4)] == [0, 0, 160, 160]


def test_decoding_times_of_asf_count_less_the_delay():
    asf = dict(container='asf', reorder_depth=1, start_seconds=None)
    clock, times = presentation(timing([40, 40, 80, 300], dts=[0, 40, 80, 300], **asf))
    assert starts(clock) == [0, 40, 260, 300] and times is None  # moved by the writer
    clock, _ = presentation(timing([540, 540, 580, 800], dts=[500, 540, 580, 800], **asf))
    assert starts(clock) == [540, 580, 800, 840]  # a late track
    for dts in [0, None, 80, 300], [0, 80, 40, 300]:  # then presentation times count
        clock, times = presentation(timing([0, 160, 40, 500], dts=dts, **asf))
        assert starts(clock) == [0, 40, 160, 500] and times is not None


def test_equal_stamps_are_one_frame():
    """The last packet of a part of a joined file is cut, the next part begins at its time."""
    clock, times = presentation(timing([*STEADY[:6], 200, *STEADY[6:]], keys=(0, 6)))
    assert clock == FrameClock(10, 25.0) and times.key_frames.tolist() == [
        True, *[False] * 4, True, *[False] * 4]


def test_stamps_that_do_not_differ_are_no_stamps():
    clock, times = presentation(timing([0] * 10))
    assert clock == FrameClock(10, 25.0) and times is None


def test_missing_stamps():
    clock, times = presentation(timing([0, None, 80]))
    assert clock == FrameClock(3, 25.0) and times is None
    clock, times = presentation(timing([0, 7, 80], has_timestamps=False))
    assert clock == FrameClock(3, 25.0) and times is None


def test_packets_before_the_first_shown_frame_are_left_out():
    clock, times = presentation(timing([0, 40, 80, 120], start_seconds=0.0), first_shown=80)
    assert starts(clock) == [80, 120] and times.timestamps.tolist() == [80, 120]


def test_a_part_of_a_live_stream_begins_at_zero():
    live = [5_000_000 + time for time in STEADY]
    assert presentation(timing(live, start_seconds=5000.0))[0] == FrameClock(10, 25.0)
    assert starts(presentation(timing(live, start_seconds=4999.0))[0])[0] == 1000
    assert starts(presentation(timing(live, start_seconds=0.0))[0])[0] == 5_000_000


@pytest.mark.parametrize('changes, first', [
    (dict(start_seconds=2.0), 2000),  # a late track
    (dict(start_seconds=0.0), 2000),  # after a sound track
    (dict(start_seconds=2.0, free_clock=True), 0), (dict(start_seconds=1.5, free_clock=True), 500),
    (dict(start_seconds=None), 2000)])
def test_second_zero(changes, first):
    clock, _ = presentation(timing([2000 + time for time in STEADY], **changes))
    assert starts(clock)[0] == first and clock.end_seconds == pytest.approx((first + 400) / 1000)


def test_a_delay_of_b_frames_is_no_late_start():
    delayed = [80 + time for time in STEADY]
    clock, _ = presentation(timing(delayed, start_seconds=0.08, reorder_depth=2))
    assert clock == FrameClock(10, 25.0)
    clock, _ = presentation(timing(delayed, start_seconds=0.08))
    assert starts(clock)[0] == 80
    clock, _ = presentation(timing([time - 80 for time in STEADY], start_seconds=-0.08))
    assert clock == FrameClock(10, 25.0)


def test_a_delay_of_b_frames_at_variable_rate():
    """Decoding begins at 0, or the first frame waits for as long as two frames last."""
    shown = [520, 1020, 1040, 1540, 1570, 1790]
    stored = timing([520, 1570, 1040, 1020], [0, 500, 520, 1020], start_seconds=0.52)
    delayed = replace(stored, reorder_depth=2)
    assert starts(presentation(delayed)[0]) == [0, 500, 520, 1050]
    assert starts(presentation(stored)[0]) == [520, 1020, 1040, 1570]
    assert starts(presentation(replace(delayed, start_seconds=0.0))[0])[0] == 520  # after sound
    unstored = timing(shown, [None] * 6, start_seconds=0.52, reorder_depth=2)  # mkv
    assert starts(presentation(unstored)[0])[:3] == [0, 500, 520]
    late = timing([time - 470 for time in shown], [None] * 6, start_seconds=0.05, reorder_depth=2)
    assert starts(presentation(late)[0])[0] == 50


@pytest.mark.parametrize('times', [STEADY, [0, 3000, 3040, 3080, 5080, *range(5120, 5320, 40)]],
                         ids=['constant', 'variable'])
@pytest.mark.parametrize('name, options', [
    ('x.mp4', {'movflags': 'frag_keyframe+empty_moov'}), ('x.flv', {})])
def test_files_with_a_delay_of_b_frames_begin_at_zero(name, options, times, tmp_path):
    seconds = np.array(times) / 1000
    path = write_timed(tmp_path / name, seconds, b_frames=2, container_options=options)
    with av.open(str(path)) as container:
        assert container.start_time > 0  # the delay is in the file
    header = probe_video(path)
    assert header.clock.seconds(np.arange(len(seconds))) == pytest.approx(seconds, abs=0.0011)


def test_a_late_track_is_no_delay_of_b_frames(tmp_path):
    path = write_timed(tmp_path / 'x.flv', 2 + np.array(STEADY) / 1000, b_frames=2)
    assert probe_video(path).clock.seconds(np.array(0)) == pytest.approx(2)


def test_the_last_duration():
    end = [presentation(timing([0, 40, 500], durations=[40, 460, last]))[0].end_seconds
           for last in (1000, 0)]
    assert end == pytest.approx([1.5, 0.5 + 0.25])  # unknown: the median distance
    mp4 = timing([0, 500, 40], [0, 40, 80], [40, 40, 30], durations_in_decoding_order=True)
    assert presentation(mp4)[0].end_seconds == pytest.approx(0.53)


def test_slots_of_avi():
    """Frames 0 to 2, two empty slots, frames 3 to 5, three empty slots at the end."""
    avi = timing([0, 1, 2, 5, 6, 7], durations=[1] * 6, tick=Fraction(1, 25), num_slots=11)
    clock, times = presentation(avi)
    assert starts(clock) == [0, 40, 80, 200, 240, 280]
    assert clock.end_seconds == pytest.approx(11 / 25)
    assert times.timestamps.tolist() == [0, 1, 2, 5, 6, 7]
    clock, times = presentation(replace(avi, num_slots=10**9))  # a damaged header
    assert clock.end_seconds == pytest.approx(8 / 25)
    b_frames = timing([1, 4, 2, 3, 7, 8], [0, 1, 2, 3, 6, 7], tick=Fraction(1, 25), num_slots=8,
                      reorder_depth=1)
    clock, times = presentation(b_frames)  # a frame leaves the decoder one packet later
    assert starts(clock) == [0, 40, 80, 200, 240, 280] and times is None


def test_a_jump_back_goes_on():
    clock, times = presentation(timing([*STEADY, *STEADY], free_clock=True))
    assert clock == FrameClock(20, 25.0) and times is None


def test_no_container_to_seek_in():
    assert presentation(timing(STEADY, can_seek=False)) == (FrameClock(10, 25.0), None)


def test_times_since():
    times = FrameTimes(np.array([0, 40, 80]), np.array([True, False, True])).since(40)
    assert times.timestamps.tolist() == [40, 80] and times.key_frames.tolist() == [False, True]


def test_a_recording_that_begins_between_key_frames(tmp_path):
    """Packets before the first key frame show nothing, and frames keep their times."""
    seconds = np.arange(60) / 25
    whole = write_timed(tmp_path / 'whole.ts', seconds, file_format='mpegts', b_frames=2)
    path = tmp_path / 'cut.ts'
    with av.open(str(whole)) as old, av.open(str(path), 'w', format='mpegts') as new:
        copy = new.add_stream_from_template(old.streams.video[0])
        for number, packet in enumerate(old.demux(video=0)):
            if number >= 5 and packet.dts is not None:
                packet.stream = copy
                new.mux(packet)
    header = probe_video(path)
    frames = read_frames(str(path), list(range(header.num_frames)), header.times)
    shown = np.array([seconds_of(frame) for frame in frames])
    assert 40 <= len(shown) < 55 and shown[-1] == pytest.approx(59 / 25, abs=0.006)
    clock = header.clock.seconds(np.arange(len(shown)))
    np.testing.assert_allclose(shown - clock, shown[-1] - clock[-1], atol=0.011)


def test_hidden_frames_of_vp8_are_no_frames(tmp_path):
    """An alternate reference frame fills a packet and is never shown."""
    seconds = np.arange(40) / 25
    path = write_timed(tmp_path / 'x.webm', seconds, codec='libvpx')
    content = path.read_bytes()
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    place = next(n for n in range(5, 40) if content.count(packets[n]) == 1)
    hidden = packets[place]
    assert hidden[0] & 0x10
    path.write_bytes(content.replace(hidden, bytes([hidden[0] & ~0x10]) + hidden[1:]))
    header = probe_video(path)
    assert header.num_frames == 39
    assert 'alternate references of VP8' in header.misread_by['decord']
    shown = np.delete(seconds, place)
    frames = read_frames(str(path), list(range(39)), header.times)
    assert [seconds_of(frame) for frame in frames] == pytest.approx(shown, abs=0.006)
    assert header.clock.seconds(np.arange(39)) == pytest.approx(shown)


def test_joined_parts_of_different_size_are_scaled_to_the_first(tmp_path):
    seconds = np.arange(25) / 25
    first = write_timed(tmp_path / 'a.ts', seconds, file_format='mpegts')
    second = tmp_path / 'b.ts'
    with av.open(str(second), 'w', format='mpegts') as container:
        stream = container.add_stream('libx264', rate=25)
        stream.width, stream.height, stream.pix_fmt = 2 * SIZE[0], 2 * SIZE[1], 'yuv420p'
        for index in range(25):
            pixels = picture(2 + index / 25).repeat(2, axis=0).repeat(2, axis=1)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format='rgb24')
            frame.pts, frame.time_base = 25 + index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    path = joined([first, second], tmp_path / 'x.ts')
    header = probe_video(path)
    frames = read_frames(str(path), [3, header.num_frames - 2], header.times)
    assert [frame.shape for frame in frames] == [(*SIZE[::-1], 3)] * 2
    assert [seconds_of(frame) for frame in frames] == pytest.approx([0.12, 2.92], abs=0.006)
