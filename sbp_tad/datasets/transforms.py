"""Transforms that mmaction2 lacks: draw a window, pack a window.

A pipeline has mmaction2's transforms between them: ``SampleWindow,
PyAVSeekDecode, Resize, ..., FormatShape(input_format='NCTHW'), PackTADInputs``,
with the decoder of :mod:`sbp_tad.datasets.readers.video_decoding`. With a
decoder of mmaction2: ``DecordInit, SampleWindow, DecordDecode, Resize, ...``;
for folders of frames: ``SampleWindow, RawFrameDecode, Resize, ...``; for
features: ``LoadFeatures, PackTADInputs``.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.structures import BaseDataElement, InstanceData
from torch.utils.data import get_worker_info

from sbp_tad.annotations import VideoAnnotation
from sbp_tad.datasets.errors import DatasetError, VideoReadError
from sbp_tad.datasets.frame_clock import FrameClock
from sbp_tad.datasets.item_draws import item_key
from sbp_tad.datasets.readers.video_header import VideoHeader, probe_video
from sbp_tad.datasets.windows import (
    WindowSize,
    clip_segments,
    draw_window_start,
    frame_indices,
    trim_window,
)
from sbp_tad.registry import TRANSFORMS
from sbp_tad.structures import TADDataSample, Window

FRAMES = ('middle', 'first')


@TRANSFORMS.register_module()
class SampleWindow(BaseTransform):
    """Choose the frames of a window; draw the window first if none is set.

    Its place is before ``...Decode``, after the decoder's ``...Init`` if it has one. Reads
    ``filename``, ``total_frames``, ``avg_fps`` (if the decoder gives it),
    ``annotation`` and either ``window`` (testing) or ``window_size``
    (training). Sets ``window``, ``frame_inds`` (T,) int64, ``clip_len``,
    ``num_clips``, ``frame_interval``, ``total_frames``, ``gt_segments_seconds``
    (N, 2) float64 and ``gt_labels`` (N,) int64.

    Frames are chosen by the clock of the file (:class:`FrameClock`): the last
    frame that begins at or before the second of the sample. Frames beyond
    the end of the file are never valid; a window wholly beyond it has
    ``num_valid_frames`` 0 and shows the last frame.

    Args:
        min_action_share: least share of one drawn action that a training
            window holds (share of the window, for actions longer than it).
        min_keep_share: partly visible actions with a smaller share inside
            are dropped from the ground truth, the others clipped.
        frame: ``'middle'`` or ``'first'`` frame of the stride that each sampled
            frame stands for. Published codes take the first; then
            ``prior_offset`` of the head is 0.

    Raises:
        DatasetError: an unknown ``frame``, a share outside (0, 1], or ``min_keep_share`` above
            ``min_action_share``: the drawn action itself could be dropped.
    """

    def __init__(self, min_action_share: float = 0.75, min_keep_share: float = 0.5,
                 frame: str = 'middle') -> None:
        if frame not in FRAMES:
            raise DatasetError(f'frame of SampleWindow must be one of {FRAMES}, got {frame!r}.')
        if not 0 < min_keep_share <= min_action_share <= 1:
            raise DatasetError(
                'SampleWindow needs 0 < min_keep_share <= min_action_share <= 1, got '
                f'min_keep_share={min_keep_share} and min_action_share={min_action_share}.')
        self.min_action_share = min_action_share
        self.min_keep_share = min_keep_share
        self.frame = frame

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add the window, its frames and its actions to ``results``."""
        clock = decoder_clock(results)
        window = results.get('window')
        if window is None:
            window = self._draw(results, clock)
        window = trim_window(window, clock.end_seconds)
        results.update(
            window=window, total_frames=clock.num_frames, num_clips=1,
            clip_len=window.num_frames, frame_interval=window.stride_frames,
            frame_inds=frame_indices(window, clock, frame=self.frame))
        self._add_ground_truth(results)
        return results

    def _draw(self, results: dict[str, Any], clock: FrameClock) -> Window:
        """Draw a window on the part of the video that file and annotation share."""
        annotation: VideoAnnotation = results['annotation']
        size: WindowSize = results['window_size']
        fps, seconds = shared_timing(annotation, clock)
        actions, _ = clip_segments(annotation.segments_seconds, 0.0, seconds, 0.0)
        if len(annotation) and not len(actions):
            raise VideoReadError(
                f"{results['filename']}: the file ends after {seconds:g} s, before the first "
                'annotated action. Replace the file or correct the annotation.')
        span = size.num_frames * size.stride_at(fps)
        start = draw_window_start(window_generator(), actions * fps, seconds * fps, span,
                                  self.min_action_share)
        return size.window(annotation.video_id, start, fps, seconds * fps)

    def _add_ground_truth(self, results: dict[str, Any]) -> None:
        annotation = results.get('annotation')
        if annotation is None:  # a video of which nothing is known but its file
            return
        window: Window = results['window']
        segments, kept = clip_segments(annotation.segments_seconds, *window.seen_seconds,
                                       self.min_keep_share)
        class_names = list(results['class_names'])
        results['gt_segments_seconds'] = segments
        results['gt_labels'] = np.array(
            [class_names.index(label) for label in annotation.select(kept).labels],
            dtype=np.int64)

    def __repr__(self) -> str:
        return (f'{type(self).__name__}(min_action_share={self.min_action_share}, '
                f'min_keep_share={self.min_keep_share}, frame={self.frame!r})')


def decoder_clock(results: dict[str, Any]) -> FrameClock:
    """Return the clock of the frames that the pipeline's decoder shows.

    The frame count of a decoder is an upper bound: containers promise frames
    that an edit list hides, or none at all. A decoder that reports another
    rate and count shows another video stream of the file, which is taken as
    equally spaced.

    Raises:
        VideoReadError: a decoder of mmaction2 that shows other frames of this file.
    """
    header: VideoHeader = results.get('video_header') or probe_video(results['filename'])
    clock = header.clock
    fps, claimed = results.get('avg_fps'), results.get('total_frames')
    _refuse_wrong_frames(results, header)
    if not clock.is_even:
        return clock.first(int(claimed or clock.num_frames))
    if not fps and not claimed:  # no decoder of mmaction2 before
        return clock
    if claimed == clock.num_frames:  # the same stream, whatever rate its container declares
        return clock
    fps = float(fps or clock.fps)
    num_frames = round(clock.num_frames / clock.fps * fps)
    num_frames = max(1, min(num_frames, int(claimed or num_frames)))
    return FrameClock(num_frames, fps, clock.end if num_frames == clock.num_frames else None)


def _refuse_wrong_frames(results: dict[str, Any], header: VideoHeader) -> None:
    """Refuse files of which a decoder of mmaction2 shows frames of other times."""
    decoder = 'decord' if 'avg_fps' in results else 'opencv' if 'new_path' in results else 'pyav'
    if 'video_reader' not in results:  # not opened by mmaction2
        return
    if decoder != 'decord' and not header.first_stream:
        fault = 'the first video track is a cover picture, which this decoder shows instead'
    elif decoder in header.misread_by:
        fault = f'this decoder would show wrong frames: {header.misread_by[decoder]}'
    else:
        return
    raise VideoReadError(f"{results['filename']}: {fault}. Use PyAVSeekDecode (without ...Init), "
                         'or convert the file to an H.264 mp4 of constant frame rate.')


def shared_timing(annotation: VideoAnnotation, clock: FrameClock) -> tuple[float, float]:
    """Return the frame rate to count in, and the seconds that annotation and file share."""
    return (annotation.fps or clock.fps,
            min(clock.end_seconds, annotation.duration_seconds or np.inf))


def window_generator() -> np.random.Generator:
    """Return a generator that follows the seed and differs between items and epochs.

    With ``ExactResumeHook`` it follows from (seed, epoch, index). Otherwise it
    follows from numpy's global state and torch's worker seed: mmengine seeds
    numpy in each worker, but equally in every epoch if workers are not
    persistent; torch's worker seed differs per epoch.
    """
    key = item_key()
    if key is not None:
        return np.random.default_rng(key)
    worker = get_worker_info()
    epoch_seed = worker.seed if worker else 0
    return np.random.default_rng([np.random.randint(2**31), epoch_seed])


@TRANSFORMS.register_module()
class PackTADInputs(BaseTransform):
    """Turn the results of a pipeline into the detector's input.

    Returns ``dict(inputs=(C, T, H, W) tensor, data_samples=TADDataSample)``,
    the inputs of features (C, T).

    Raises:
        DatasetError: ``imgs`` is not (1, C, T, H, W) with the window's T.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Pack frames or features, window and ground truth."""
        window: Window = results['window']
        inputs = results['features'] if 'features' in results else \
            window_frames(results['imgs'], window.num_frames)
        sample = TADDataSample(metainfo=dict(
            window=window, video_id=window.video_id, filename=results.get('filename'),
            duration_seconds=results['annotation'].duration_seconds
            if 'annotation' in results else None, error=None))
        if 'gt_labels' in results:
            sample.gt_instances = InstanceData(
                segments_seconds=torch.from_numpy(results['gt_segments_seconds']),
                labels=torch.from_numpy(results['gt_labels']))
        return dict(inputs=torch.from_numpy(np.ascontiguousarray(inputs)), data_samples=sample)


def window_frames(imgs: np.ndarray, num_frames: int) -> np.ndarray:
    """Return the single crop (C, T, H, W) of the output of FormatShape.

    Raises:
        DatasetError: ``imgs`` is not (1, C, T, H, W).
    """
    frames = imgs[0] if imgs.ndim == 5 and len(imgs) == 1 else imgs
    if frames.ndim != 4 or frames.shape[1] != num_frames:
        raise DatasetError(
            f'Packing expects frames (1, C, {num_frames}, H, W), got {imgs.shape}. Put '
            "FormatShape(input_format='NCTHW') before it and use a single crop.")
    return frames


def build_pipeline(pipeline: Sequence[dict | Callable]) -> list[Callable]:
    """Build transforms by name, independent of the default scope of the process.

    A config of mmaction finds the transforms of this project, and a plain
    Python process, which has no scope, finds mmaction's.
    """
    return [TRANSFORMS.build({'_scope_': 'sbp_tad', **transform})
            if isinstance(transform, dict) else transform for transform in pipeline]


def pack_failure(video_id: str, window: Window | None, filename: str, error: str,
                 sample_type: type[BaseDataElement] = TADDataSample) -> dict[str, Any]:
    """Return the item of an unreadable window: no input, and the reason as ``error``."""
    sample = sample_type(metainfo=dict(
        window=window, video_id=video_id, filename=filename, error=error))
    return dict(inputs=None, data_samples=sample)
