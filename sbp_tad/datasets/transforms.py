"""The two transforms that mmaction2 lacks: draw a window, pack a window.

They stand around mmaction2's own: ``SampleWindow, PyAVSeekDecode, Resize, ...,
FormatShape(input_format='NCTHW'), PackTADInputs``, the decoder being of
:mod:`sbp_tad.datasets.readers.video_decoding`; with those of mmaction2 ``DecordInit,
SampleWindow, DecordDecode, Resize, ...``; for folders of frames ``SampleWindow,
RawFrameDecode, Resize, ...``; for features ``LoadFeatures, PackTADInputs``.
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
from sbp_tad.datasets.item_draws import item_key
from sbp_tad.datasets.readers.video_header import probe_video
from sbp_tad.datasets.windows import (
    WindowSize,
    clip_segments,
    draw_window_start,
    frame_indices,
    trim_window,
)
from sbp_tad.registry import TRANSFORMS
from sbp_tad.structures import TADDataSample, Window


@TRANSFORMS.register_module()
class SampleWindow(BaseTransform):
    """Choose the frames of a window; draw the window first where none is set.

    Stands before ``...Decode``, after the decoder's ``...Init`` if it has one. Reads
    ``filename``, ``total_frames``, ``avg_fps`` (where the decoder gives it),
    ``annotation`` and either ``window`` (testing) or ``window_size``
    (training). Sets ``window``, ``frame_inds`` (T,) int64, ``clip_len``,
    ``num_clips``, ``frame_interval``, ``total_frames``, ``gt_segments_seconds``
    (N, 2) float64 and ``gt_labels`` (N,) int64.

    A window never counts frames beyond the end of the file as valid; one
    that lies wholly beyond it has ``num_valid_frames`` 0 and shows the last
    frame.

    Args:
        min_action_share: share of one drawn action that a training window
            holds at least (of the window, for actions longer than it).
        min_keep_share: partly visible actions with a smaller share inside
            are dropped from the ground truth, the others clipped.

    Raises:
        DatasetError: a share outside (0, 1], or ``min_keep_share`` above
            ``min_action_share``: the drawn action itself could be dropped.
    """

    def __init__(self, min_action_share: float = 0.75, min_keep_share: float = 0.5) -> None:
        if not 0 < min_keep_share <= min_action_share <= 1:
            raise DatasetError(
                'SampleWindow needs 0 < min_keep_share <= min_action_share <= 1, got '
                f'min_keep_share={min_keep_share} and min_action_share={min_action_share}.')
        self.min_action_share = min_action_share
        self.min_keep_share = min_keep_share

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add the window, its frames and its actions to ``results``."""
        file_frames, file_fps = decodable_frames(results)
        window = results.get('window')
        if window is None:
            window = self._draw(results, file_frames, file_fps)
        window = trim_window(window, file_frames / file_fps)
        results.update(
            window=window, total_frames=file_frames, num_clips=1, clip_len=window.num_frames,
            frame_interval=window.stride_frames,
            frame_inds=frame_indices(window, file_frames, file_fps))
        self._add_ground_truth(results)
        return results

    def _draw(self, results: dict[str, Any], file_frames: int, file_fps: float) -> Window:
        """A random window on the part of the video that file and annotation share."""
        annotation: VideoAnnotation = results['annotation']
        size: WindowSize = results['window_size']
        fps, seconds = shared_timing(annotation, file_frames, file_fps)
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
                f'min_keep_share={self.min_keep_share})')


def decodable_frames(results: dict[str, Any]) -> tuple[int, float]:
    """Frames that the decoder can really show, and its frames a second.

    The frame count of a decoder is an upper bound: containers promise frames
    that an edit list hides, or none at all. A file with several video streams
    is counted in time, because decoders choose different ones.
    """
    header = results.get('video_header') or probe_video(results['filename'])
    fps = float(results.get('avg_fps') or header.fps)
    frames = round(header.duration_seconds * fps)
    claimed = int(results.get('total_frames') or frames)
    return max(1, min(frames, claimed)), fps


def shared_timing(annotation: VideoAnnotation, file_frames: int, file_fps: float
                  ) -> tuple[float, float]:
    """Frames a second to count in, and the seconds that annotation and file have in common."""
    return (annotation.fps or file_fps,
            min(file_frames / file_fps, annotation.duration_seconds or np.inf))


def window_generator() -> np.random.Generator:
    """A generator that follows the seed and differs between items and epochs.

    Where ``ExactResumeHook`` seeds the items, it follows from (seed, epoch,
    index). Elsewhere from numpy's global state: mmengine seeds that in each
    worker, but alike in every epoch when workers are not persistent; torch's
    worker seed differs.
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
            error=None))
        if 'gt_labels' in results:
            sample.gt_instances = InstanceData(
                segments_seconds=torch.from_numpy(results['gt_segments_seconds']),
                labels=torch.from_numpy(results['gt_labels']))
        return dict(inputs=torch.from_numpy(np.ascontiguousarray(inputs)), data_samples=sample)


def window_frames(imgs: np.ndarray, num_frames: int) -> np.ndarray:
    """The one crop (C, T, H, W) of what FormatShape made.

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
    """Build transforms by name, whatever default scope a process has set.

    A config of mmaction finds the two transforms of this project, and a plain
    Python process, which has no scope, finds mmaction's.
    """
    return [TRANSFORMS.build({'_scope_': 'sbp_tad', **transform})
            if isinstance(transform, dict) else transform for transform in pipeline]


def pack_failure(video_id: str, window: Window | None, filename: str, error: str,
                 sample_type: type[BaseDataElement] = TADDataSample) -> dict[str, Any]:
    """What stands for a window that could not be read: no input, a sentence."""
    sample = sample_type(metainfo=dict(
        window=window, video_id=video_id, filename=filename, error=error))
    return dict(inputs=None, data_samples=sample)
