"""Files of which the decoders of mmaction2 show wrong frames.

The rules need no decoding: container, codec, the time stamps of the packets
and the display matrix. They were found with files whose frames show their own time.
"""
from __future__ import annotations

from sbp_tad.datasets.frame_clock import FrameClock, clock_of_ticks
from sbp_tad.datasets.readers.display_matrix import Orientation
from sbp_tad.datasets.readers.frame_times import (
    RECOVERING_CODECS,
    FrameTimes,
    Packet,
    StreamTiming,
)

_UNEVEN = 'it seeks by a constant frame rate'
_TRANSPORT_STREAM = 'it does not seek exactly in MPEG-TS with reordered frames'
_DAMAGED = 'it shows damaged frames after a seek in MPEG-TS'
_OPEN_GOP = 'it cannot seek to key frames that are followed by frames shown before them (open GOP)'
_AVI = 'it cannot seek in AVI with H.264, HEVC or B-frames'
_ASF = 'it does not seek exactly in WMV and ASF'
_HIDDEN = ('it counts frames that are never shown: hidden by an edit list, alternate references of '
           'VP8, or not decodable')
_UNDECODABLE = 'it does not seek exactly in mp4 and mov that begin between key frames'
_AV1 = 'it decodes no AV1'  # OpenCV searches for a frame without end
_TURNED = 'it does not turn frames by the display matrix of the file'
_MIRRORED = 'it does not mirror frames by the display matrix of the file'

_MMACTION_DECODERS = ('DecordInit', 'DecordDecode', 'OpenCVInit', 'OpenCVDecode', 'PyAVInit',
                      'PyAVDecode', 'PIMSInit', 'PIMSDecode')
_AV1_DECODERS = ('av1', 'libdav1d', 'libaom-av1')  # names in FFmpeg
# OpenCV decodes so many frames before the wanted one: from a key frame on they are undamaged.
_OPENCV_LEAD = 16


def misreading_decoders(timing: StreamTiming, clock: FrameClock, times: FrameTimes | None,
                        shown: Orientation) -> dict[str, str]:
    """Return the decoders that show wrong frames, each with the reason.

    The keys are 'decord', 'opencv' and 'pyav', mmaction2's ``PyAVDecode``.

    Args:
        shown: how a player turns the frames of the file.
    """
    faults = {'decord': _orientation_fault('decord', timing, shown)
              or _decord_fault(timing, clock, times),
              'opencv': _orientation_fault('opencv', timing, shown)
              or _opencv_fault(timing, clock, times),
              'pyav': _orientation_fault('pyav', timing, shown)}
    return {decoder: fault for decoder, fault in faults.items() if fault}


def cure_for(transform: str) -> str:
    """Return the advice for a file that a transform cannot decode though its header was read.

    The header includes the first frame, decoded as ``PyAVSeekDecode`` does.
    """
    if transform in _MMACTION_DECODERS:
        return 'Use PyAVSeekDecode (without ...Init), replace the file'
    return 'Replace the file'


def _orientation_fault(decoder: str, timing: StreamTiming, shown: Orientation) -> str | None:
    """Return what a decoder leaves out: OpenCV and, in mp4 and mov, decord turn frames."""
    turns = decoder == 'opencv' or decoder == 'decord' and timing.container.startswith('mov')
    if shown.is_turned and not turns:
        return _TURNED
    return _MIRRORED if shown.is_mirrored else None


def _decord_fault(timing: StreamTiming, clock: FrameClock, times: FrameTimes | None
                  ) -> str | None:
    if timing.codec in _AV1_DECODERS:
        return _AV1
    seeks = sum(packet.is_key for packet in timing.packets) > 1  # else it reads on from the start
    if timing.container == 'avi' and _is_misread_avi(timing, seeks):
        return _AVI
    if timing.container == 'asf' and seeks:
        return _ASF
    if timing.container == 'mpegts' and timing.reorder_depth:
        return _TRANSPORT_STREAM
    if timing.hides_frames or clock.num_frames < len(timing.packets):
        return _HIDDEN
    if has_open_gops(timing.packets):
        return _OPEN_GOP
    return _UNEVEN if _must_count(timing, clock, times) else None


def _is_misread_avi(timing: StreamTiming, seeks: bool) -> bool:
    """Return whether decord cannot seek in an AVI, or shows wrong frames at its end."""
    is_unordered = timing.codec in ('h264', 'hevc')  # AVI does not tell the order of their frames
    if seeks or not timing.reorder_depth:
        return seeks and (is_unordered or timing.reorder_depth > 0)
    return is_unordered or _ends_with_b_frame(timing.packets)


def _ends_with_b_frame(packets: list[Packet]) -> bool:
    shown = [packet.pts for packet in packets if packet.pts is not None]
    return shown[-1:] != [max(shown, default=None)]


def _opencv_fault(timing: StreamTiming, clock: FrameClock, times: FrameTimes | None
                  ) -> str | None:
    if timing.codec in _AV1_DECODERS:
        return _AV1
    if timing.container == 'mpegts' and timing.reorder_depth:
        return _TRANSPORT_STREAM
    if timing.container == 'mpegts' and timing.codec not in RECOVERING_CODECS \
            and longest_gop(timing.packets) > _OPENCV_LEAD:
        return _DAMAGED
    if timing.container.startswith('mov') and clock.num_frames < len(timing.packets):
        return _UNDECODABLE
    return _UNEVEN if not _is_evenly_spaced(clock) or _must_count(timing, clock, times) else None


def _must_count(timing: StreamTiming, clock: FrameClock, times: FrameTimes | None) -> bool:
    """Return whether only counting from the beginning of the file finds a frame."""
    return times is None and not (timing.num_slots is not None and clock.is_even)


def _is_evenly_spaced(clock: FrameClock) -> bool:
    """Return whether the frames are equally spaced from the first one, which may be late."""
    if clock.ticks is None:
        return True
    first, last = int(clock.ticks[0]), int(clock.ticks[-1])
    return clock_of_ticks(clock.ticks, clock.tick_seconds, first, last, [clock.fps]).is_even


def longest_gop(packets: list[Packet]) -> int:
    """Return the largest number of frames from a key frame to before the next one."""
    places = [number for number, packet in enumerate(packets) if packet.is_key]
    ends = [*places[1:], len(packets)]
    return max((end - place for place, end in zip(places, ends)), default=len(packets))


def has_open_gops(packets: list[Packet]) -> bool:
    """Return whether a frame follows a key frame in the file and is shown before it."""
    key_frame = None
    for packet in packets:
        if packet.is_key:
            key_frame = packet.pts
        elif packet.pts is not None and key_frame is not None and packet.pts < key_frame:
            return True
    return False
