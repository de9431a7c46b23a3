"""Online action detection: a working window of frames, its history, and a target a frame.

Frame ``t`` of a video, ``t = 0, 1, ...`` at ``target_fps``, stands for second
``t / target_fps``; it is of every action with ``start <= t / target_fps <=
end``, both ends included, as the labels of OadTR count them. The picture taken
for it is the middle one of its stride, as everywhere here.

The pipeline is that of :mod:`sbp_tad.datasets.transforms` with
``SampleOnlineWindow`` and ``PackOnlineInputs`` in the place of ``SampleWindow``
and ``PackTADInputs``; decoding and augmentation see one clip of M + T frames,
so that flip and crop are the same for all.
"""
from __future__ import annotations

from typing import Any

import numpy as np
import torch
from mmcv.transforms import BaseTransform

from sbp_tad.annotations import VideoAnnotation
from sbp_tad.datasets.base import TemporalDetectionDataset
from sbp_tad.datasets.errors import DatasetError, VideoReadError
from sbp_tad.datasets.thumos14 import THUMOS14Dataset
from sbp_tad.datasets.toy import ToyDataset
from sbp_tad.datasets.transforms import (
    SampleWindow,
    decodable_frames,
    shared_timing,
    window_frames,
    window_generator,
)
from sbp_tad.datasets.windows import WindowSize, frame_indices, num_sampled_frames
from sbp_tad.registry import DATASETS, TRANSFORMS
from sbp_tad.structures import OnlineDataSample, Window

# Boundaries are decimals of seconds; rounding must not take a frame from its own boundary.
_ROUNDING_SECONDS = 1e-6


@DATASETS.register_module()
class OnlineDetectionDataset(TemporalDetectionDataset):
    """Untrimmed videos whose frames are told one by one, with memory of what came before.

    In testing the windows tile each video, so that every frame is scored
    once. In training a video gives as many windows as fit into it; each is
    drawn anew, from its share of all starts that lie inside the video, so
    that an epoch sees about every frame once, at a random phase.

    Args:
        args, kwargs: of :class:`TemporalDetectionDataset`, less ``overlap``;
            ``num_frames`` are those of the working window, frames with an
            ignored label count neither for nor against any class.
        memory_frames: M, sampled frames of history.
        memory_stride: frames (of ``target_fps``) from one of them to the next;
            the last lies that many before the working window.

    Raises:
        DatasetError: a memory that cannot be, or features in place of frames.
    """

    sample_type = OnlineDataSample

    def __init__(self, *args: Any, memory_frames: int = 128, memory_stride: int = 4,
                 **kwargs: Any) -> None:
        if memory_frames < 0 or memory_stride < 1 \
                or (memory_frames, memory_stride) != (int(memory_frames), int(memory_stride)):
            raise DatasetError('memory_frames must be a whole number from 0 and memory_stride one '
                               f'from 1, got {memory_frames!r} and {memory_stride!r}.')
        if 'overlap' in kwargs:
            raise DatasetError('Windows of online detection tile the video and score each frame '
                               f'once: leave out overlap={kwargs["overlap"]!r}.')
        if 'features' in (kwargs.get('data_prefix') or {}):
            raise DatasetError('Online detection reads frames here: set data_prefix to '
                               "dict(video='...') or dict(frames='...').")
        self.memory = int(memory_frames), int(memory_stride)
        super().__init__(*args, overlap=None, **kwargs)

    def _train_items(self, video: VideoAnnotation) -> list[dict[str, Any]]:
        item, = super()._train_items(video)[:1]
        try:
            _, windows = self.source.windows(item['filename'], video, self.window_size, None)
        except VideoReadError:
            windows = []  # said, or skipped, when it is read
        num_parts = max(1, sum(w.num_valid_frames == w.num_frames for w in windows))
        return [dict(item, **self._online_entries(video), part=(number, num_parts))
                for number in range(num_parts)] * self.windows_per_video

    def _test_items(self, video: VideoAnnotation) -> list[dict[str, Any]]:
        return [dict(item, **self._online_entries(video)) for item in super()._test_items(video)]

    def _online_entries(self, video: VideoAnnotation) -> dict[str, Any]:
        ignored = video.only(self.ignored_labels).segments_seconds
        return dict(memory=self.memory, ignored_segments_seconds=ignored)


@DATASETS.register_module()
class THUMOS14OnlineDataset(OnlineDetectionDataset, THUMOS14Dataset):
    """THUMOS'14 for online detection; see both bases.

    ``protocol=213`` is the published one: all test videos.
    """


@DATASETS.register_module()
class ToyOnlineDataset(OnlineDetectionDataset, ToyDataset):
    """The toy set for online detection; see both bases."""


@TRANSFORMS.register_module()
class SampleOnlineWindow(SampleWindow):
    """Choose working window and memory; draw the window first where none is set.

    Reads what :class:`SampleWindow` reads, and ``memory`` (M, stride),
    ``ignored_segments_seconds`` (N, 2) and, where ``window`` is None,
    ``part``, the share of the video's starts from which it is drawn. Sets
    ``window``, ``frame_inds`` (M + T,), memory first and oldest first,
    ``memory_mask`` (M,), ``frame_targets`` (T, 1 + classes) float32 and
    ``frame_valid`` (T,). What lies before the video shows its first frame.
    """

    def __init__(self) -> None:
        super().__init__()

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add window, memory, frames and targets to ``results``."""
        results = super().transform(results)
        window: Window = results['window']
        steps = memory_steps(*results['memory'])
        before = frame_indices(window, *decodable_frames(results), steps)
        results['memory_mask'] = window.first_index + steps >= 0
        results['frame_inds'] = np.concatenate([before, results['frame_inds']])
        results['clip_len'] = len(results['frame_inds'])
        return results

    def _draw(self, results: dict[str, Any], file_frames: int, file_fps: float) -> Window:
        """A window from its part of all starts inside the video, on the grid of its frames."""
        annotation: VideoAnnotation = results['annotation']
        size: WindowSize = results['window_size']
        fps, seconds = shared_timing(annotation, file_frames, file_fps)
        stride = size.stride_at(fps)
        num_starts = max(1, num_sampled_frames(seconds * fps, stride) - size.num_frames + 1)
        number, num_parts = results['part']
        start = int((number + window_generator().random()) / num_parts * num_starts)
        return size.window(annotation.video_id, start * stride, fps, seconds * fps)

    def _add_ground_truth(self, results: dict[str, Any]) -> None:
        if results.get('annotation') is None:  # a video of which nothing is known but its file
            return
        window: Window = results['window']
        names = list(results['class_names'])
        annotation: VideoAnnotation = results['annotation']
        labels = np.array([names.index(label) for label in annotation.labels], dtype=np.int64)
        frames = np.arange(window.num_frames)
        times = (window.first_index + frames) * window.seconds_per_frame
        ignored = during(times, results['ignored_segments_seconds']).any(axis=1)
        results['frame_targets'] = frame_targets(times, annotation.segments_seconds, labels,
                                                 len(names))
        results['frame_valid'] = (frames < window.num_valid_frames) & ~ignored


def memory_steps(memory_frames: int, memory_stride: int) -> np.ndarray:
    """Where the memory lies, (M,) int64: frames from the start of the window, oldest first."""
    return -memory_stride * np.arange(memory_frames, 0, -1)


def during(times_seconds: np.ndarray, segments_seconds: np.ndarray) -> np.ndarray:
    """(T, N) bool: moment of (T,) lies in the segment of (N, 2), either end included."""
    times = times_seconds[:, None]
    return ((times >= segments_seconds[:, 0] - _ROUNDING_SECONDS)
            & (times <= segments_seconds[:, 1] + _ROUNDING_SECONDS))


def frame_targets(times_seconds: np.ndarray, segments_seconds: np.ndarray, labels: np.ndarray,
                  num_classes: int) -> np.ndarray:
    """Which classes each moment is of.

    Args:
        times_seconds: (T,).
        segments_seconds: (N, 2), may overlap.
        labels: (N,) int64 in [0, ``num_classes``).

    Returns:
        (T, 1 + ``num_classes``) float32 of 0 and 1: background where nothing
        is on, in column 0, then the classes.
    """
    of_class = np.eye(num_classes, dtype=bool)[labels]  # (N, C)
    shown = during(times_seconds, segments_seconds) @ of_class  # (T, C), "or" over segments
    return np.column_stack([~shown.any(axis=1), shown]).astype(np.float32)


@TRANSFORMS.register_module()
class PackOnlineInputs(BaseTransform):
    """Turn the results of a pipeline into the online detector's input.

    Returns ``dict(inputs=(C, M + T, H, W) tensor, data_samples=OnlineDataSample)``.

    Raises:
        DatasetError: ``imgs`` is not (1, C, M + T, H, W).
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Pack frames, window, memory mask and targets."""
        window: Window = results['window']
        mask = results['memory_mask']
        frames = window_frames(results['imgs'], len(mask) + window.num_frames)
        sample = OnlineDataSample(metainfo=dict(
            window=window, video_id=window.video_id, filename=results.get('filename'),
            error=None))
        for name in ('memory_mask', 'frame_targets', 'frame_valid'):
            if name in results:
                sample.set_data({name: torch.from_numpy(results[name])})
        return dict(inputs=torch.from_numpy(np.ascontiguousarray(frames)), data_samples=sample)
