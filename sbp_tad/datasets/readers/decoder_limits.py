"""Files of which the seeking decoders of mmaction2 show frames of other times.

The rules need no decoding: container, codec, and the time stamps of the packets.
They were found with files whose frames show their own time.
"""
from __future__ import annotations

from sbp_tad.datasets.frame_clock import FrameClock
from sbp_tad.datasets.readers.frame_times import FrameTimes, Packet, StreamTiming

_UNEVEN = 'it seeks by a constant frame rate'
_TRANSPORT_STREAM = 'it does not seek exactly in MPEG-TS with reordered frames'
_OPEN_GOP = 'it cannot seek to key frames that are followed by frames shown before them (open GOP)'
_AVI = 'it cannot seek in AVI with H.264, HEVC or B-frames'
_ASF = 'it does not seek exactly in WMV and ASF'


def misreading_decoders(timing: StreamTiming, clock: FrameClock, times: FrameTimes | None
                        ) -> dict[str, str]:
    """Return the decoders ('decord', 'opencv') that show wrong frames, each with the reason."""
    faults = {'decord': _decord_fault(timing, clock, times),
              'opencv': _opencv_fault(timing, clock, times)}
    return {decoder: fault for decoder, fault in faults.items() if fault}


def _decord_fault(timing: StreamTiming, clock: FrameClock, times: FrameTimes | None
                  ) -> str | None:
    seeks = sum(packet.is_key for packet in timing.packets) > 1  # else it reads on from the start
    if timing.container == 'avi' and (timing.codec in ('h264', 'hevc')
                                      or seeks and timing.reorder_depth):
        return _AVI
    if timing.container == 'asf' and seeks:
        return _ASF
    if timing.container == 'mpegts' and timing.reorder_depth:
        return _TRANSPORT_STREAM
    if has_open_gops(timing.packets):
        return _OPEN_GOP
    return _UNEVEN if _must_count(timing, clock, times) else None


def _opencv_fault(timing: StreamTiming, clock: FrameClock, times: FrameTimes | None
                  ) -> str | None:
    if timing.container == 'mpegts' and timing.reorder_depth:
        return _TRANSPORT_STREAM
    return _UNEVEN if not clock.is_even or _must_count(timing, clock, times) else None


def _must_count(timing: StreamTiming, clock: FrameClock, times: FrameTimes | None) -> bool:
    """Return whether only counting from the beginning of the file finds a frame."""
    return times is None and not (timing.num_slots is not None and clock.is_even)


def has_open_gops(packets: list[Packet]) -> bool:
    """Return whether a frame follows a key frame in the file and is shown before it."""
    key_frame = None
    for packet in packets:
        if packet.is_key:
            key_frame = packet.pts
        elif packet.pts is not None and key_frame is not None and packet.pts < key_frame:
            return True
    return False
