"""The frames of a window from a video file: one seek, one thread, no frame in vain.

mmaction's decoders read the whole file into memory, and convert or keep frames
that no window shows. Here PyAV seeks to the key frame before the window, knows
frames by their time stamps, which :func:`probe_video` has listed, and turns
only those that are asked for into pixels. ``python -m benchmarks.decoding``
compares it with the other decoders.
"""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from mmcv.transforms import BaseTransform

from sbp_tad.datasets.errors import VideoReadError
from sbp_tad.datasets.readers.video_header import FrameTimes, open_container, probe_video
from sbp_tad.registry import TRANSFORMS

# Of VideoReformatter.reformat. By default it wakes all cores for every frame, which takes twice
# the time; old releases of PyAV have no such argument and use one thread.
RGB: dict[str, Any] = dict(format='rgb24')
if 'threads' in (VideoReformatter.reformat.__doc__ or ''):
    RGB['threads'] = 1


@TRANSFORMS.register_module()
class PyAVSeekDecode(BaseTransform):
    """Decode the frames ``frame_inds`` of the file ``filename``; needs no ``...Init`` before it.

    Sets ``imgs``, a list of T arrays (H, W, 3) uint8 in RGB, ``img_shape`` and
    ``original_shape`` (H, W), as the decoders of mmaction do.

    Raises:
        VideoReadError: the file cannot be read or lacks a frame.
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
    """Decode frames of the first video stream.

    Args:
        indices: numbers of frames in the order in which they are shown, from
            0; they may repeat, and each gets an array of its own.
        times: when which frame is shown; without it the file is decoded from
            its beginning and frames are counted.

    Returns:
        One (H, W, 3) uint8 array an index, RGB, upright.

    Raises:
        VideoReadError: the file ends before the last of them.
    """
    wanted = sorted(set(indices))
    shown = _read_by_time(filename, wanted, times) if times else {}
    if len(shown) < len(wanted):  # no usable time stamps, or a stream that breaks its promises
        shown = _read_by_count(filename, wanted)
    if len(shown) < len(wanted):
        missing = next(index for index in wanted if index not in shown)
        raise VideoReadError(f'{filename}: frame {missing} cannot be decoded. Replace the file, '
                             "or set on_bad_video='skip'.")
    fresh = set(wanted)
    frames = []
    for index in indices:  # transforms such as Flip work in place: no two may share memory
        frames.append(shown[index] if index in fresh else shown[index].copy())
        fresh.discard(index)
    return frames


def _read_by_time(filename: str, wanted: list[int], times: FrameTimes) -> dict[int, np.ndarray]:
    """Those of the wanted frames that are found by their time stamps."""
    numbers = {int(times.timestamps[index]): index for index in wanted}
    with open_container(filename) as container:
        stream = _one_thread(container)
        start = times.key_frame_before(wanted[0])
        if start is not None:
            container.seek(start, stream=stream)
        frames = _decode_wanted(container, stream, numbers)
        return _upright_pixels((numbers[frame.pts], frame) for frame in frames
                               if frame.pts is not None)


def _decode_wanted(container: av.container.InputContainer, stream: av.VideoStream,
                   timestamps: dict[int, int]) -> Iterator[av.VideoFrame]:
    """Decode until all frames with these time stamps are found.

    In H.264 no other frame refers to a non-reference frame, so where such a
    one is not asked for the decoder may leave it out.
    """
    decoder, missing = stream.codec_context, len(timestamps)
    may_skip = decoder.name == 'h264'
    for packet in container.demux(stream):
        if may_skip:
            decoder.skip_frame = 'DEFAULT' if packet.pts in timestamps else 'NONREF'
        for frame in packet.decode():
            if frame.pts in timestamps:
                yield frame
                missing -= 1
                if not missing:
                    return


def _read_by_count(filename: str, wanted: list[int]) -> dict[int, np.ndarray]:
    """Those of the wanted frames that the file holds, counted from its beginning."""
    numbers = frozenset(wanted)
    with open_container(filename) as container:
        frames = container.decode(_one_thread(container))
        return _upright_pixels(
            (index, frame) for index, frame in zip(range(wanted[-1] + 1), frames)
            if index in numbers)


def _one_thread(container: av.container.InputContainer) -> av.VideoStream:
    """The first video stream, decoded by the calling thread: data workers are parallel already."""
    stream = container.streams.video[0]
    stream.thread_type = 'NONE'
    stream.codec_context.thread_count = 1
    return stream


def _upright_pixels(frames: Iterator[tuple[int, av.VideoFrame]]) -> dict[int, np.ndarray]:
    """RGB pixels of numbered frames.

    One reformatter serves all: ``VideoFrame.to_ndarray`` sets up a new one
    for every frame, which takes a third of the time.
    """
    reformatter = VideoReformatter()
    return {index: upright_pixels(frame, reformatter) for index, frame in frames}


def upright_pixels(frame: av.VideoFrame, reformatter: VideoReformatter) -> np.ndarray:
    """The RGB pixels (H, W, 3) uint8 of a frame, turned as the file says."""
    image = reformatter.reformat(frame, **RGB).to_ndarray()
    turns = round(frame.rotation / 90) % 4  # counterclockwise
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image


def stream_frames(filename: str) -> Iterator[av.VideoFrame]:
    """All frames of the first video stream in order, none of them kept.

    Raises:
        VideoReadError: where the file cannot be read, or cannot any more.
    """
    try:
        with open_container(filename) as container:
            yield from container.decode(_one_thread(container))
    except av.error.FFmpegError as error:
        raise VideoReadError(f'{filename}: the video cannot be decoded ({error}). Replace the '
                             'file.') from error
