"""Presentation times of a video stream, from its packets and without decoding them."""
from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import av
import numpy as np
from av.stream import Disposition

from sbp_tad.datasets.errors import VideoReadError
from sbp_tad.datasets.frame_clock import FrameClock, clock_of_ticks, typical_gap

# Flags of libavformat's AVInputFormat.
_NO_TIMESTAMPS = 0x0080  # elementary streams
_FREE_CLOCK = 0x0200  # MPEG-TS and PS: time stamps begin anywhere and may jump
_VP8_SHOW_FRAME = 0x10  # in the first byte of a frame (RFC 6386, 9.1)
_IMAGE_CODECS = frozenset(('bmp', 'jpegls', 'mjpeg', 'png', 'tiff', 'webp'))
# Decoders that show no damaged frames after a seek in MPEG-TS, whatever the order of the frames.
RECOVERING_CODECS = frozenset(('h264', 'hevc', 'mpeg1video', 'mpeg2video'))
# A stream with more repeated time stamps than this share has no usable ones.
_MOST_REPEATED = 0.1
# A file whose streams all begin later than this is a part of a live stream.
_LATEST_START_SECONDS = 60
# An AVI header that promises more empty slots than this at the end is taken as damaged.
_MOST_EMPTY_SECONDS = 600


@dataclass(frozen=True)
class FrameTimes:
    """Time stamps of the frames of a video stream, in its time base.

    Args:
        timestamps: (n,) int64, increasing: the position of a frame is its index.
        key_frames: (n,) bool, frames at which decoding can begin.
    """

    timestamps: np.ndarray
    key_frames: np.ndarray

    def key_frame_before(self, index: int) -> int | None:
        """Return the time stamp of the last key frame up to a frame; None: the file's start."""
        places = np.flatnonzero(self.key_frames[:index + 1])
        return int(self.timestamps[places[-1]]) if len(places) else None

    def since(self, timestamp: int) -> FrameTimes:
        """Return the times of the frames from a time stamp on."""
        kept = self.timestamps >= timestamp
        return FrameTimes(self.timestamps[kept], self.key_frames[kept])


class Packet(NamedTuple):
    """Time stamps of one packet in the stream's time base; None if the file lacks them."""

    pts: int | None
    dts: int | None
    duration: int
    is_key: bool


@dataclass(frozen=True)
class StreamTiming:
    """Everything about the time of a video stream that its container knows.

    Args:
        packets: packets that hold a frame, in decoding order.
        tick: time base.
        rates: declared frame rates, the preferred one first.
        start_seconds: first time stamp of all streams of the file, or None.
        reorder_depth: frames by which the decoder lags behind (B-frames).
        num_slots: in AVI the number of frame slots, else None.
        has_timestamps: False for elementary streams.
        free_clock: the time stamps begin anywhere and may jump.
        durations_in_decoding_order: packet durations are differences of
            decoding times (mp4, mov).
        can_seek: time stamps after a seek are those of reading from the
            beginning, and the frames too. In MPEG-PS only some packets have
            stamps; the others depend on where reading begins. In MPEG-TS
            frames of MPEG-4 part 2 with B-frames are damaged after a seek.
        container: name of the demuxer.
        codec: name of the decoder.
        hides_frames: the file has frames that are never shown: alternate
            references of VP8, or frames before the beginning of an edit list.
    """

    packets: list[Packet]
    tick: Fraction
    rates: list[float]
    start_seconds: float | None
    reorder_depth: int
    num_slots: int | None
    has_timestamps: bool
    free_clock: bool
    durations_in_decoding_order: bool
    can_seek: bool
    container: str
    codec: str
    hides_frames: bool = False


def video_stream(container: av.container.InputContainer) -> av.VideoStream:
    """Return the first video stream that is no cover picture.

    Matroska does not mark covers that are written as tracks: a stream of
    single images is taken only if there is no other.

    Raises:
        VideoReadError: the file has none.
    """
    streams = [stream for stream in container.streams.video
               if not stream.disposition & Disposition.attached_pic]
    moving = [stream for stream in streams if stream.codec_context is None
              or stream.codec_context.name not in _IMAGE_CODECS]
    if streams:
        return (moving or streams)[0]
    found = 'only a cover picture' if container.streams.video else 'no video stream'
    raise VideoReadError(f'{container.name}: the file has {found}. Replace the file.')


def read_timing(container: av.container.InputContainer, stream: av.VideoStream) -> StreamTiming:
    """Read the timing of a stream: demultiplex the file and decode nothing."""
    codec, flags = stream.codec_context, container.format.flags
    is_avi = container.format.name == 'avi'
    has_timestamps = not flags & _NO_TIMESTAMPS
    declared = [stream.average_rate, stream.guessed_rate, codec.framerate]
    if not has_timestamps:  # the average is a default of the demuxer
        declared = declared[::-1]
    start, slots = container.start_time, stream.duration if is_avi else None
    depth, tick = codec.reorder_depth, stream.time_base
    assert tick is not None  # every demuxer sets one
    packets, hides_frames = _read_packets(container, stream, codec.name)
    rates = [float(rate) for rate in declared if rate] or _measured_rate(packets, tick)
    return StreamTiming(packets, tick, rates,
                        None if start is None else start / av.time_base, depth, slots,
                        has_timestamps, bool(flags & _FREE_CLOCK),
                        container.format.name.startswith('mov'),
                        _can_seek(container.format.name, codec.name, depth),
                        container.format.name, codec.name, hides_frames)


def _read_packets(container: av.container.InputContainer, stream: av.VideoStream, codec: str
                  ) -> tuple[list[Packet], bool]:
    """Return the packets that show a frame, and whether others lie before or between them.

    An edit list marks packets that no decoder shows; the frame count of the container
    includes them (or is 0, as in mkv).
    """
    packets: list[Packet] = []
    cut, hides_frames = [], False
    for packet in container.demux(stream):
        if _shows_frame(packet, codec):
            packets.append(Packet(packet.pts, packet.dts, packet.duration or 0,
                                  packet.is_keyframe))
        elif packet.is_discard:
            cut.append(packet.pts or 0)
        elif packet.size:
            hides_frames = True
    first = min((packet.pts for packet in packets if packet.pts is not None), default=0)
    return packets, hides_frames or min(cut, default=first) < first


def _can_seek(container: str, codec: str, reorder_depth: int) -> bool:
    if container == 'mpegts':
        return codec in RECOVERING_CODECS or codec == 'mpeg4' and not reorder_depth
    return container != 'mpeg'


def _shows_frame(packet: av.Packet, codec: str) -> bool:
    """Return whether decoding shows the frame of a packet; VP8 has hidden reference frames."""
    if packet.size == 0 or packet.is_discard:
        return False
    return codec != 'vp8' or bool(memoryview(packet)[0] & _VP8_SHOW_FRAME)


def _measured_rate(packets: list[Packet], tick: Fraction) -> list[float]:
    """Return the average rate of a stream that declares none, if its packets have times."""
    known = [packet.pts for packet in packets if packet.pts is not None]
    length = max(known) - min(known) if known else 0
    return [float((len(known) - 1) / (length * tick))] if length else []


def presentation(timing: StreamTiming, first_shown: int | None = None
                 ) -> tuple[FrameClock, FrameTimes | None]:
    """Return the clock of a stream, and the time stamps by which its frames are found.

    Args:
        timing: of the stream, with at least one packet and rate.
        first_shown: time stamp of the first frame that decodes; packets
            before it (a recording cut between key frames) show nothing.

    Returns:
        The clock, and None instead of time stamps if frames must be counted
        from the beginning of the file.
    """
    packets = timing.packets
    if not timing.has_timestamps:
        return FrameClock(len(packets), timing.rates[0]), None
    if timing.num_slots is not None:
        return _slots(timing)
    if timing.container == 'asf' and timing.reorder_depth and (decoded := _decoding_times(packets)):
        return _clock_of_decoding_times(timing, decoded), None
    if any(packet.pts is None for packet in packets):
        return FrameClock(len(packets), timing.rates[0]), None
    jumps = timing.free_clock and _jumps_back(packets)
    if jumps:
        packets = _without_jumps(packets)
    times = _sorted_times(packets)
    if len(times.timestamps) < (1 - _MOST_REPEATED) * len(packets):
        return FrameClock(len(packets), timing.rates[0]), None
    if first_shown is not None and not jumps and first_shown in times.timestamps:
        times = times.since(first_shown)
    ticks = times.timestamps
    clock = clock_of_ticks(ticks, float(timing.tick), _origin(timing, ticks),
                           int(ticks[-1]) + _last_duration(timing, packets, ticks), timing.rates)
    return clock, times if timing.can_seek and not jumps else None


def _slots(timing: StreamTiming) -> tuple[FrameClock, FrameTimes | None]:
    """Return the times of an AVI stream, in which every frame fills a slot and some are empty.

    AVI stores the decoding order only. With B-frames the frame shown ``n``-th
    leaves the decoder with packet ``n + depth``.
    """
    packets, depth = timing.packets, timing.reorder_depth
    slots = np.array([number if packet.dts is None else packet.dts
                      for number, packet in enumerate(packets)], dtype=np.int64)
    times = None
    if depth:
        tail = slots[-1] + np.arange(1, depth + 1)
        slots = np.append(slots, tail)[depth:] - depth
    elif all(packet.pts is not None for packet in packets):
        times = _sorted_times(packets)
        times = times if len(times.timestamps) == len(slots) else None
    slots = np.maximum.accumulate(slots)
    end = int(slots[-1]) + 1
    promised = timing.num_slots or end
    if end < promised <= end + _MOST_EMPTY_SECONDS / float(timing.tick):
        end = promised
    return clock_of_ticks(slots, float(timing.tick), min(0, int(slots[0])), end,
                          timing.rates), times


def _decoding_times(packets: list[Packet]) -> list[int]:
    """Return the decoding times, or nothing if some are missing or out of order."""
    times = [packet.dts for packet in packets if packet.dts is not None]
    return times if len(times) == len(packets) and times == sorted(times) else []


def _clock_of_decoding_times(timing: StreamTiming, decoded: list[int]) -> FrameClock:
    """Return the clock of an ASF stream with B-frames, whose packets state when they are decoded.

    As in AVI the frame shown ``n``-th leaves the decoder with packet ``n + depth``.
    The demuxer's presentation times are derived and may be in another order. Times that
    begin at 0 were moved by the writer: decoding would begin before 0.
    """
    depth = timing.reorder_depth
    gap = int(np.median(np.diff(decoded))) if len(decoded) > 1 else 1
    ticks = np.append(decoded, decoded[-1] + gap * np.arange(1, depth + 2))[depth:]
    origin = int(ticks[0]) if decoded[0] == 0 else 0
    return clock_of_ticks(ticks[:-1], float(timing.tick), origin, int(ticks[-1]), timing.rates)


def _sorted_times(packets: list[Packet]) -> FrameTimes:
    """Return the times in presentation order; of packets with equal ones a key frame counts."""
    shown: dict[int, bool] = {}
    for packet in packets:
        assert packet.pts is not None
        shown[packet.pts] = shown.get(packet.pts, False) or packet.is_key
    table = np.array(sorted(shown.items()), dtype=np.int64)
    return FrameTimes(np.ascontiguousarray(table[:, 0]), table[:, 1].astype(bool))


def _origin(timing: StreamTiming, ticks: np.ndarray) -> int:
    """Return the tick of second 0, as players place it.

    The time line of a free clock begins with the first stream. Elsewhere it
    begins at 0, and a first time stamp above 0 is a late track. There are two
    exceptions if all streams are late: by the delay of B-frames, which some
    writers leave in, or by more than a minute, in a part of a live stream.
    """
    first, tick = int(ticks[0]), float(timing.tick)
    if timing.start_seconds is not None:
        start = min(first, round(timing.start_seconds / tick))
        if timing.free_clock or start * tick > _LATEST_START_SECONDS \
                or start > 0 and _is_reordering_delay(timing, start, ticks):
            return start
    return min(0, first)


def _is_reordering_delay(timing: StreamTiming, start: int, ticks: np.ndarray) -> bool:
    """Return whether a late start is the time by which frames wait for B-frames.

    Writers without an edit list (fragmented mp4, flv) move all time stamps
    until decoding begins at 0. In mkv, which stores no decoding times, the
    first frame waits for as long as ``reorder_depth`` frames last.
    """
    depth, first = timing.reorder_depth, timing.packets[0]
    if not 0 < depth < len(ticks):
        return False
    if first.dts == 0 and first.pts:
        return True
    gap = typical_gap(np.diff(ticks))
    return abs(start - int(ticks[depth] - ticks[0])) <= 1 \
        or gap is not None and start <= depth * (gap + 1)


def _last_duration(timing: StreamTiming, packets: list[Packet], ticks: np.ndarray) -> int:
    """Return the ticks for which the last frame is shown."""
    last = int(ticks[-1])
    own = next(packet for packet in packets if packet.pts == last)
    reordered = timing.durations_in_decoding_order and packets[-1].pts != last
    duration = packets[-1].duration if reordered else own.duration
    if duration > 0:
        return duration
    if len(ticks) > 1:
        return int(np.median(np.diff(ticks)))
    return max(1, round(1 / timing.rates[0] / float(timing.tick)))


def _jumps_back(packets: list[Packet]) -> bool:
    known = [packet.dts for packet in packets if packet.dts is not None]
    return any(after < before for before, after in zip(known, known[1:]))


def _without_jumps(packets: list[Packet]) -> list[Packet]:
    """Let time go on where it jumps back: files that were joined byte by byte."""
    known = [packet.dts for packet in packets if packet.dts is not None]
    step = int(np.median(np.diff(known)))
    offset, last, straight = 0, None, []
    for packet in packets:
        assert packet.pts is not None
        if packet.dts is not None:
            if last is not None and packet.dts + offset < last:
                offset = last + step - packet.dts
            last = packet.dts + offset
        straight.append(packet._replace(pts=packet.pts + offset))
    return straight
