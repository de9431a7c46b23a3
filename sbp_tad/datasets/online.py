"""Online action detection: a working window of frames, its history and one target per frame.

Frame ``t`` of a video, ``t = 0, 1, ...`` at ``target_fps``, stands for second
``t / target_fps``. It belongs to every action with ``start <= t / target_fps
<= end``, both ends included, as in the labels of OadTR. Its picture is the one
shown in the middle of its stride, as in all datasets of this package.

The pipeline is that of :mod:`sbp_tad.datasets.transforms` with
``SampleOnlineWindow`` and ``PackOnlineInputs`` instead of ``SampleWindow`` and
``PackTADInputs``. Decoding and augmentation see one clip of M + T frames, so
that flip and crop are the same for all frames.
"""
from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from mmcv.transforms import BaseTransform

from sbp_tad.annotations import VideoAnnotation
from sbp_tad.datasets.base import TemporalDetectionDataset
from sbp_tad.datasets.errors import DatasetError, VideoReadError
from sbp_tad.datasets.frame_clock import FrameClock
from sbp_tad.datasets.thumos14 import THUMOS14Dataset
from sbp_tad.datasets.toy import ToyDataset
from sbp_tad.datasets.transforms import (
    SampleWindow,
    decoder_clock,
    shared_timing,
    window_frames,
    window_generator,
)
from sbp_tad.datasets.windows import WindowSize, frame_indices, num_sampled_frames
from sbp_tad.registry import DATASETS, TRANSFORMS
from sbp_tad.structures import HISTORIES, OnlineDataSample, Window, history_indices

# Boundaries are decimal seconds; rounding must not separate a frame from its own boundary.
_ROUNDING_SECONDS = 1e-6


@DATASETS.register_module()
class OnlineDetectionDataset(TemporalDetectionDataset):
    """Untrimmed videos whose frames are classified one by one, given their history.

    In testing the windows tile each video, so that every frame is scored
    once; or an item is a whole video, which the head cuts into windows. In
    training a video gives as many windows as fit into it. Each is
    drawn from its share of all starts inside the video, so that an epoch sees
    about every frame once, at a random phase.

    Args:
        args, kwargs: of :class:`TemporalDetectionDataset`, without
            ``overlap``. ``num_frames`` is the size of the working window.
            Frames with an ignored label count neither for nor against a class.
        memory_frames: M, sampled frames of history.
        memory_stride: frames (at ``target_fps``) between two frames of the
            history; the last one lies this far before the working window.
        history_from: frames of a history, see
            :func:`sbp_tad.structures.history_indices`. LSTR trains with
            ``'spread'`` and tests with ``'oldest'``.
        whole_videos: make each video one test item, whose frames are decoded
            once and are in memory together. Sliding windows need it.

    Raises:
        DatasetError: ``memory_frames``, ``memory_stride`` or ``history_from``
            out of range, an ``overlap``, or features instead of frames.
    """

    sample_type = OnlineDataSample

    def __init__(self, *args: Any, memory_frames: int = 128, memory_stride: int = 4,
                 history_from: str = 'working', whole_videos: bool = False, **kwargs: Any
                 ) -> None:
        if memory_frames < 0 or memory_stride < 1 \
                or (memory_frames, memory_stride) != (int(memory_frames), int(memory_stride)):
            raise DatasetError('memory_frames must be a whole number from 0 and memory_stride one '
                               f'from 1, got {memory_frames!r} and {memory_stride!r}.')
        if history_from not in HISTORIES:
            raise DatasetError(f'history_from must be one of {HISTORIES}, got {history_from!r}.')
        if 'overlap' in kwargs:
            raise DatasetError('Windows of online detection tile the video and score each frame '
                               f'once: remove overlap={kwargs["overlap"]!r}.')
        if 'features' in (kwargs.get('data_prefix') or {}):
            raise DatasetError('Online detection reads frames, not features: set data_prefix to '
                               "dict(video='...') or dict(frames='...').")
        self.history = int(memory_frames), int(memory_stride)
        self.history_from, self.whole_videos = history_from, whole_videos
        super().__init__(*args, overlap=None, **kwargs)

    def _train_items(self, video: VideoAnnotation) -> list[dict[str, Any]]:
        item, = super()._train_items(video)[:1]
        try:
            _, windows = self.source.windows(item['filename'], video, self.window_size, None)
        except VideoReadError:
            windows = []  # raised, or skipped, when the item is read
        num_parts = max(1, sum(w.num_valid_frames == w.num_frames for w in windows))
        return [dict(item, **self._online_entries(video), part=(number, num_parts))
                for number in range(num_parts)] * self.windows_per_video

    def _test_items(self, video: VideoAnnotation) -> list[dict[str, Any]]:
        items = super()._test_items(video)
        windows = [item['window'] for item in items if item['window'] is not None]
        if self.whole_videos and windows:
            num_frames = sum(window.num_valid_frames for window in windows)
            whole = replace(windows[0], num_frames=num_frames, num_valid_frames=num_frames)
            return [dict(items[0], window=whole, **self._online_entries(video))]
        return [dict(item, **self._online_entries(video)) for item in items]

    def _online_entries(self, video: VideoAnnotation) -> dict[str, Any]:
        ignored = video.only(self.ignored_labels).segments_seconds
        history = None if self.whole_videos and self.test_mode else (
            *self.history, self.history_from)
        return dict(history=history, ignored_segments_seconds=ignored)


@DATASETS.register_module()
class THUMOS14OnlineDataset(OnlineDetectionDataset, THUMOS14Dataset):
    """THUMOS'14 for online detection; see both bases.

    ``protocol=213`` is the published protocol: all test videos.
    """


@DATASETS.register_module()
class ToyOnlineDataset(OnlineDetectionDataset, ToyDataset):
    """The toy set for online detection; see both bases."""


@TRANSFORMS.register_module()
class SampleOnlineWindow(SampleWindow):
    """Choose the frames of working window and history; draw the window if none is set.

    Reads what :class:`SampleWindow` reads, and ``history`` (M, stride,
    history_from; None for a whole video, which has no history),
    ``ignored_segments_seconds`` (N, 2) and, where ``window`` is None, ``part``,
    the share of the video's starts from which it is drawn. Sets
    ``window``, ``frame_inds`` (M + T,), history first and oldest first,
    ``memory_mask`` (M,), ``frame_targets`` (T, 1 + classes) float32 and
    ``frame_valid`` (T,). History before the start of the video repeats the
    first frame.
    """

    def __init__(self) -> None:
        super().__init__()

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add window, history mask, frames and targets to ``results``."""
        clock = decoder_clock(results)
        results = super().transform(results)
        window: Window = results['window']
        if results['history'] is None:
            return results
        frames, results['memory_mask'] = history_indices(window.first_index, *results['history'])
        before = frame_indices(window, clock, frames - window.first_index)
        results['frame_inds'] = np.concatenate([before, results['frame_inds']])
        results['clip_len'] = len(results['frame_inds'])
        return results

    def _draw(self, results: dict[str, Any], clock: FrameClock) -> Window:
        """Draw a window from its part of all starts inside the video, on the grid of frames."""
        annotation: VideoAnnotation = results['annotation']
        size: WindowSize = results['window_size']
        fps, seconds = shared_timing(annotation, clock)
        stride = size.stride_at(fps)
        num_starts = max(1, num_sampled_frames(seconds * fps, stride) - size.num_frames + 1)
        number, num_parts = results['part']
        start = int((number + window_generator().random()) / num_parts * num_starts)
        return size.window(annotation.video_id, start * stride, fps, seconds * fps)

    def _add_ground_truth(self, results: dict[str, Any]) -> None:
        if results.get('annotation') is None:  # a video without annotation
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


def during(times_seconds: np.ndarray, segments_seconds: np.ndarray) -> np.ndarray:
    """Return (T, N) bool: time ``t`` lies in segment ``n``, both ends included."""
    times = times_seconds[:, None]
    return ((times >= segments_seconds[:, 0] - _ROUNDING_SECONDS)
            & (times <= segments_seconds[:, 1] + _ROUNDING_SECONDS))


def frame_targets(times_seconds: np.ndarray, segments_seconds: np.ndarray, labels: np.ndarray,
                  num_classes: int) -> np.ndarray:
    """Return the classes that each time belongs to.

    Args:
        times_seconds: (T,).
        segments_seconds: (N, 2), may overlap.
        labels: (N,) int64 in [0, ``num_classes``).

    Returns:
        (T, 1 + ``num_classes``) float32 of 0 and 1: background (no action) in
        column 0, then the classes.
    """
    of_class = np.eye(num_classes, dtype=bool)[labels]  # (N, C)
    shown = during(times_seconds, segments_seconds) @ of_class  # (T, C), logical or over segments
    return np.column_stack([~shown.any(axis=1), shown]).astype(np.float32)


@TRANSFORMS.register_module()
class PackOnlineInputs(BaseTransform):
    """Turn the results of a pipeline into the online detector's input.

    Returns ``dict(inputs=(C, M + T, H, W) tensor, data_samples=OnlineDataSample)``.

    Raises:
        DatasetError: ``imgs`` is not (1, C, M + T, H, W).
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Pack frames, window, history mask and targets."""
        window: Window = results['window']
        mask = results.get('memory_mask', ())
        frames = window_frames(results['imgs'], len(mask) + window.num_frames)
        sample = OnlineDataSample(metainfo=dict(
            window=window, video_id=window.video_id, filename=results.get('filename'),
            error=None))
        for name in ('memory_mask', 'frame_targets', 'frame_valid'):
            if name in results:
                sample.set_data({name: torch.from_numpy(results[name])})
        return dict(inputs=torch.from_numpy(np.ascontiguousarray(frames)), data_samples=sample)
