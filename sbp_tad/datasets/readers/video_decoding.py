"""Decode the frames of a window from a video file: one seek, one thread.

mmaction's decoders read the whole file into memory, and convert or keep frames
that no window shows. Here PyAV seeks to the key frame before the window, finds
frames by the time stamps that :func:`probe_video` has listed, and converts only
the requested ones to pixels. ``python -m benchmarks.decoding`` compares it with
the other decoders.
"""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter
from mmcv.transforms import BaseTransform

from sbp_tad.datasets.errors import VideoReadError
from sbp_tad.datasets.readers.display_matrix import display_matrix, displayed
from sbp_tad.datasets.readers.frame_times import FrameTimes, video_stream
from sbp_tad.datasets.readers.video_header import open_container, probe_video
from sbp_tad.registry import TRANSFORMS

# Arguments of VideoReformatter.reformat. By default it uses all cores for every frame, which
# takes twice the time; old releases of PyAV lack the argument and use one thread.
RGB: dict[str, Any] = dict(format='rgb24')
if 'threads' in (VideoReformatter.reformat.__doc__ or ''):
    RGB['threads'] = 1

# So many frames in a row may be lost (damaged, or cut off from the frames that they refer to);
# the last frame before them is shown instead, as players do.
MOST_LOST_FRAMES = 16


@TRANSFORMS.register_module()
class PyAVSeekDecode(BaseTransform):
    """Decode the frames ``frame_inds`` of the file ``filename``; no ``...Init`` is needed before.

    Sets ``imgs``, a list of T arrays (H, W, 3) uint8 in RGB, ``img_shape`` and
    ``original_shape`` (H, W), as the decoders of mmaction do.

    Raises:
        VideoReadError: the file cannot be read, or too many frames in a row are lost.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add the frames to ``results``."""
        filename = results['filename']
        header = results.get('video_header') or probe_video(filename)
        imgs = read_frames(filename, np.ravel(results['frame_inds']).tolist(), header.times)
        shape = imgs[0].shape[:2]
        results.update(imgs=imgs, img_shape=shape, original_shape=shape)
        return results


def read_frames(filename: str, indices: Sequence[int], times: FrameTimes | None = None
                ) -> list[np.ndarray]:
    """Decode frames of the video stream of a file.

    A frame that cannot be decoded is replaced by the last one before it.

    Args:
        indices: frame numbers in presentation order, from 0; they may repeat,
            and each gets an array of its own.
        times: time stamps of the frames; without them the file is decoded
            from its beginning and frames are counted.

    Returns:
        One (H, W, 3) uint8 array per index, RGB, upright, of one size.

    Raises:
        VideoReadError: more than ``MOST_LOST_FRAMES`` frames in a row are lost.
    """
    wanted = sorted(set(indices))
    shown = _read_by_time(filename, wanted, times) if times else _read_by_count(filename, wanted)
    if len(shown) < len(wanted):
        missing = next(index for index in wanted if index not in shown)
        raise VideoReadError(f'{filename}: frame {missing} cannot be decoded. Replace the file, '
                             "or set on_bad_video='skip'.")
    fresh = set(wanted)
    frames = []
    for index in indices:  # transforms such as Flip work in place: no two may share memory
        frames.append(shown[index] if index in fresh else shown[index].copy())
        fresh.discard(index)
    return scale_alike(frames)


def scale_alike(frames: list[np.ndarray]) -> list[np.ndarray]:
    """Scale frames (H, W, 3) to the size of the first, as players do with joined files."""
    size = frames[0].shape[:2]
    return [frame if frame.shape[:2] == size else
            cv2.resize(frame, size[::-1], interpolation=cv2.INTER_AREA) for frame in frames]


def _read_by_time(filename: str, wanted: list[int], times: FrameTimes) -> dict[int, np.ndarray]:
    """Return those of the wanted frames that are found by their time stamps."""
    numbers = {int(times.timestamps[index]): index for index in wanted}
    with open_container(filename) as container:
        stream = _one_thread(container)
        start = times.key_frame_before(wanted[0])
        if start is not None:
            container.seek(start, stream=stream)
        frames = _decode_wanted(container, stream, numbers)
        shown = _upright_pixels((numbers[frame.pts], frame) for frame in frames
                                if frame.pts is not None)
    lost = [index for index in wanted if index not in shown]
    return {**shown, **_read_before(filename, lost, times)} if lost else shown


def _decode_wanted(container: av.container.InputContainer, stream: av.VideoStream,
                   timestamps: dict[int, int]) -> Iterator[av.VideoFrame]:
    """Decode until all frames with these time stamps are found.

    In H.264 no frame refers to a non-reference frame, so that the decoder may
    skip those that are not wanted.
    """
    decoder, missing = stream.codec_context, len(timestamps)
    may_skip = decoder.name == 'h264'
    for packet in container.demux(stream):
        if may_skip:
            decoder.skip_frame = 'DEFAULT' if packet.pts in timestamps else 'NONREF'
        for frame in _decode(packet):
            if frame.pts in timestamps:
                yield frame
                missing -= 1
                if not missing:
                    return


def _decode(packet: av.Packet) -> list[av.VideoFrame]:
    """Return the frames of a packet; none if it is damaged."""
    try:
        return packet.decode()
    except av.error.InvalidDataError:
        return []


def _read_before(filename: str, lost: list[int], times: FrameTimes) -> dict[int, np.ndarray]:
    """Return the last frame before each of the lost frames, if it is near enough."""
    for start in (times.key_frame_before(max(0, lost[0] - 1)), None):  # None: the whole file
        found = _last_frames(filename, times.timestamps[lost].tolist(), start)
        if len(found) == len(lost):
            break
    near = {}
    for index, frame in zip(lost, found):
        assert frame.pts is not None  # of a frame that was found by it
        number = np.searchsorted(times.timestamps, frame.pts, side='right') - 1
        if index - number <= MOST_LOST_FRAMES:
            near[index] = frame
    return _upright_pixels(iter(near.items()))


def _last_frames(filename: str, timestamps: list[int], start: int | None
                 ) -> list[av.VideoFrame]:
    """Return the last frame up to each of the increasing time stamps; empty if there is none."""
    found: list[av.VideoFrame] = []
    with open_container(filename) as container:
        stream = _one_thread(container)
        if start is not None:
            container.seek(start, stream=stream)
        last = None
        for frame in _decode_all(container, stream):
            while frame.pts is not None and len(found) < len(timestamps) \
                    and frame.pts > timestamps[len(found)]:
                if last is None:
                    return []
                found.append(last)
            if len(found) == len(timestamps):
                break
            last = last if frame.pts is None else frame
    return [] if last is None else found + [last] * (len(timestamps) - len(found))


def _decode_all(container: av.container.InputContainer, stream: av.VideoStream
                ) -> Iterator[av.VideoFrame]:
    """Decode every frame from the present position, leaving out damaged packets."""
    for packet in container.demux(stream):
        yield from _decode(packet)


def _read_by_count(filename: str, wanted: list[int]) -> dict[int, np.ndarray]:
    """Return the wanted frames, counted from the beginning; the last one repeats at the end."""
    numbers, last, reformatter = frozenset(wanted), None, VideoReformatter()
    found: list[tuple[int, av.VideoFrame]] = []
    shown: dict[int, np.ndarray] = {}
    with open_container(filename) as container:
        frames = _decode_all(container, _one_thread(container))
        for index, frame in zip(range(wanted[-1] + 1), frames):
            last = index, frame
            if index in numbers:
                shown[index] = upright_pixels(frame, reformatter)
    if last is not None:
        found = [(index, last[1]) for index in wanted
                 if last[0] < index <= last[0] + MOST_LOST_FRAMES]
    return {**shown, **_upright_pixels(iter(found))}


def _one_thread(container: av.container.InputContainer) -> av.VideoStream:
    """Return the video stream, decoded by the calling thread: data workers are parallel."""
    stream = video_stream(container)
    stream.thread_type = 'NONE'
    stream.codec_context.thread_count = 1
    return stream


def _upright_pixels(frames: Iterator[tuple[int, av.VideoFrame]]) -> dict[int, np.ndarray]:
    """Return the RGB pixels of numbered frames of one file.

    One reformatter serves all: ``VideoFrame.to_ndarray`` sets up a new one
    for every frame, which takes a third of the time. A file has one display
    matrix.
    """
    reformatter, matrix = VideoReformatter(), None
    shown: dict[int, np.ndarray] = {}
    for index, frame in frames:
        image = reformatter.reformat(frame, **RGB).to_ndarray()
        if not shown:
            matrix = display_matrix(frame)
        shown[index] = image if matrix is None else displayed(image, matrix)
    return shown


def upright_pixels(frame: av.VideoFrame, reformatter: VideoReformatter) -> np.ndarray:
    """Return the RGB pixels (H, W, 3) uint8 of a frame, turned and mirrored as the file says."""
    image = reformatter.reformat(frame, **RGB).to_ndarray()
    matrix = display_matrix(frame)
    return image if matrix is None else displayed(image, matrix)


def stream_frames(filename: str, times: FrameTimes | None = None
                  ) -> Iterator[tuple[int, av.VideoFrame]]:
    """Yield number and frame of all frames of the video stream in order; keep none.

    Args:
        times: time stamps that number the frames; without them they are counted.

    Raises:
        VideoReadError: the file cannot be read, from the start or further on.
    """
    try:
        with open_container(filename) as container:
            for count, frame in enumerate(_decode_all(container, _one_thread(container))):
                if times is None:
                    yield count, frame
                elif frame.pts is not None and frame.pts >= times.timestamps[0]:
                    yield int(np.searchsorted(times.timestamps, frame.pts, 'right')) - 1, frame
    except av.error.FFmpegError as error:
        raise VideoReadError(f'{filename}: the video cannot be decoded ({error}). Replace the '
                             'file.') from error
