"""Pre-extracted features in place of frames, and the times that their steps stand for."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch.nn import functional as F

from sbp_tad.annotations import VideoAnnotation
from sbp_tad.datasets.errors import DatasetError, VideoReadError
from sbp_tad.datasets.file_names import FEATURE_SUFFIXES, like_named
from sbp_tad.datasets.frame_clock import FrameClock
from sbp_tad.datasets.readers.feature_files import (
    feature_shape,
    open_features,
    read_sidecar,
)
from sbp_tad.datasets.readers.video_files import VideoFiles
from sbp_tad.datasets.readers.video_header import VideoHeader, with_timing
from sbp_tad.datasets.windows import WindowSize, sliding_window_starts
from sbp_tad.structures import Window

COVERS = ('windows', 'whole', 'resize')
_ROUNDING_STEPS = 1e-6


@dataclass(frozen=True)
class FeatureGrid:
    """Times that the steps of a video's features stand for.

    Step ``t`` was computed from the seconds ``[t * stride_frames, t *
    stride_frames + window_frames) / fps`` of the video. Its time is their
    middle, ``(t * stride_frames + window_frames / 2) / fps``, as in
    ActionFormer. Frames are a unit of time here, ``1 / fps`` seconds, also in
    a file of variable frame rate.
    """

    fps: float
    stride_frames: float
    window_frames: float

    @property
    def offset_frames(self) -> float:
        """Start of the time span of step 0, half a stride before its middle, in frames."""
        return (self.window_frames - self.stride_frames) / 2

    def num_steps(self, video_frames: float) -> int:
        """Return the number of steps whose windows reach the end of a video."""
        beyond = (video_frames - self.window_frames) / self.stride_frames
        return 1 + max(0, int(np.ceil(beyond - _ROUNDING_STEPS)))

    def num_frames(self, num_steps: int) -> float:
        """Return the number of video frames that ``num_steps`` steps have seen."""
        return (num_steps - 1) * self.stride_frames + self.window_frames

    def window(self, video_id: str, first_step: int, num_steps: int, valid_steps: int,
               width_steps: float = 1.0) -> Window:
        """Return a window of steps from ``first_step`` on, each ``width_steps`` steps wide."""
        return Window(video_id, self.offset_frames + first_step * self.stride_frames, num_steps,
                      self.stride_frames * width_steps, self.fps, valid_steps,
                      max(0.0, self.offset_frames))


@dataclass(frozen=True)
class FeatureFile:
    """Features of one video: ``num_steps`` steps on a grid."""

    path: str
    key: str | None
    channels_first: bool
    num_steps: int
    grid: FeatureGrid
    cover: str

    def window(self, video_id: str, first_step: int, num_steps: int) -> Window:
        """Return a window of ``num_steps`` steps, padded at the end, or of all steps resized."""
        if self.cover == 'resize':
            return self.grid.window(video_id, 0, num_steps, num_steps, self.num_steps / num_steps)
        valid = min(num_steps, self.num_steps - first_step)
        return self.grid.window(video_id, first_step, num_steps, valid)

    def read(self, window: Window) -> np.ndarray:
        """Read the features of a window: (C, T) float32, zeros in the padding.

        Raises:
            VideoReadError: a value that is not finite; see also ``open_features``.
        """
        if self.cover == 'resize':
            whole = torch.from_numpy(self._steps(0, self.num_steps))[None]  # (1, C, T')
            return F.interpolate(whole, size=window.num_frames, mode='linear',
                                 align_corners=False)[0].numpy()
        first = round((window.start_frame - self.grid.offset_frames) / self.grid.stride_frames)
        steps = self._steps(first, first + window.num_valid_frames)
        return np.pad(steps, ((0, 0), (0, window.num_frames - steps.shape[1])))

    def _steps(self, first: int, end: int) -> np.ndarray:
        array = open_features(self.path, self.key)
        cut = array[:, first:end] if self.channels_first else np.asarray(array[first:end]).T
        steps = np.array(cut, dtype=np.float32)  # (C, end - first), a copy of a memory map
        if not np.isfinite(steps).all():
            bad = int(np.flatnonzero(~np.isfinite(steps).all(axis=0))[0]) + first
            raise VideoReadError(f'{self.path}: step {bad} holds NaN or infinity. Extract the '
                                 'features anew.')
        return steps


@dataclass(frozen=True)
class FeatureFiles(VideoFiles):
    """Pre-extracted features, read by :class:`LoadFeatures`.

    Stride and window are counted in video frames at the annotation's fps. A
    sidecar JSON, written by ``tools/extract_features.py``, states them (and
    its fps) per video. If the config gives them too, both must agree.

    Args:
        stride_frames: video frames between two steps. Without it and without
            a sidecar the steps divide the video evenly, which only
            ``cover='resize'`` accepts.
        window_frames: video frames that a step was computed from; the stride
            by default.
        num_channels: C; that of the file that is read first by default.
        channels_first: files hold (C, T) and not (T, C).
        key: name of the array in files with several; ``{video_id}`` in it is
            replaced.
        cover: ``'windows'``: test windows of ``num_frames`` steps slide over
            the video. ``'whole'``: a test window is the video, padded to
            ``num_frames`` steps if shorter (test batches of unequal lengths
            are padded). In training both draw windows from longer videos.
            ``'resize'``: always the whole video, interpolated linearly to
            ``num_frames`` steps.
        length_tolerance: accepted difference between the lengths of features
            and annotation as a share of the video, added to one window.
        default_fps: frames per second that replace those of the annotation, as in
            the configs of ActionFormer; None takes the annotation's.

    Raises:
        DatasetError: an option out of range, or options that contradict each other.
    """

    filename_template: ClassVar[str] = '{video_id}.npy'
    stride_frames: float | None = None
    window_frames: float | None = None
    num_channels: int | None = None
    channels_first: bool = False
    key: str | None = None
    cover: str = 'windows'
    length_tolerance: float = 0.05
    default_fps: float | None = None
    # The file that was read first, and its width, which all others must have.
    _first: dict[str, tuple[str, int]] = field(default_factory=dict, init=False, repr=False,
                                               compare=False)

    def __post_init__(self) -> None:
        if self.cover not in COVERS:
            raise DatasetError(f'cover must be one of {COVERS}, got {self.cover!r}.')
        for name in ('stride_frames', 'window_frames', 'num_channels', 'default_fps'):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise DatasetError(f'{name} must be above 0, got {value!r}.')
        if self.window_frames and not self.stride_frames:
            raise DatasetError('window_frames needs stride_frames: set both in source, or neither.')

    def window_size(self, num_frames: int, stride_frames: float | None,
                    target_fps: float | None) -> WindowSize:
        """Return the size of the dataset's windows, counted in steps.

        Raises:
            DatasetError: a stride or target fps of the dataset itself.
        """
        if stride_frames is not None or target_fps is not None:
            raise DatasetError('The steps of features are fixed: set source=dict(stride_frames='
                               '...), and neither stride_frames nor target_fps of the dataset.')
        return WindowSize(num_frames, stride_frames=1)

    def inspect(self, filename: str, video: VideoAnnotation) -> dict[str, Any]:
        """Return ``feature_file`` and a header with the length that its steps cover.

        Raises:
            VideoReadError: the file cannot be used.
        """
        key = self.key and self.key.format(video_id=video.video_id)
        try:
            shape = feature_shape(filename, key)
        except VideoReadError as error:
            hint = like_named(filename, video.video_id, FEATURE_SUFFIXES)
            raise VideoReadError(f'{error}{hint}') from error
        num_steps = self._num_steps(filename, shape)
        grid = self._grid(filename, video, num_steps)
        self._check_length(filename, video, shape, grid)
        file = FeatureFile(filename, key, self.channels_first, num_steps, grid, self.cover)
        header = VideoHeader(FrameClock(max(1, round(grid.num_frames(num_steps))), grid.fps))
        return dict(video_header=header, feature_file=file)

    def windows(self, filename: str, video: VideoAnnotation, size: WindowSize,
                overlap: float | None) -> tuple[VideoAnnotation, list[Window]]:
        """Return the test windows on the steps of a file; open every file.

        Raises:
            VideoReadError: the file cannot be used.
        """
        known = self.inspect(filename, video)
        file, num_steps = known['feature_file'], size.num_frames
        starts = np.zeros(1, dtype=int)
        if self.cover == 'windows':
            starts = np.arange(0, file.num_steps, num_steps) if overlap is None else \
                sliding_window_starts(file.num_steps, num_steps, overlap).astype(int)
        elif self.cover == 'whole':
            num_steps = max(num_steps, file.num_steps)
        return (with_timing(video, known['video_header']),
                [file.window(video.video_id, int(start), num_steps) for start in starts])

    def _num_steps(self, filename: str, shape: tuple[int, int]) -> int:
        num_steps, channels = shape[::-1] if self.channels_first else shape
        if not num_steps:
            raise VideoReadError(f'{filename}: the file holds no steps. Extract the features anew.')
        if self.num_channels not in (None, channels):
            order = '(C, T)' if self.channels_first else '(T, C)'
            raise VideoReadError(
                f'{filename}: expected {self.num_channels} channels, got shape {shape} read as '
                f'{order}. Set num_channels or channels_first in source.')
        first, width = self._first.setdefault('file', (filename, channels))
        if channels != width:
            raise VideoReadError(
                f'{filename}: expected {width} channels, as {first} has, got shape {shape}, which '
                f'has {channels}. Extract the features of both files by the same network, or set '
                'source=dict(num_channels=...) to refuse those of another width.')
        return num_steps

    def _grid(self, filename: str, video: VideoAnnotation, num_steps: int) -> FeatureGrid:
        stored = read_sidecar(filename)
        if stored:
            return self._stored_grid(filename, stored)
        stride, seconds = self.stride_frames, video.duration_seconds
        if stride is None:
            if self.cover != 'resize' or not seconds:
                raise VideoReadError(
                    f'{filename}: the number of video frames between two steps is unknown. Set '
                    "source=dict(stride_frames=...); only with cover='resize' and an annotated "
                    'duration it is not needed.')
            fps = video.fps or 1.0  # cancels out: the steps divide the duration
            return FeatureGrid(fps, seconds * fps / num_steps, seconds * fps / num_steps)
        rate = self.default_fps or video.fps
        if not rate:
            raise VideoReadError(f'{filename}: the annotation has no fps, in which the stride of '
                                 "the features is counted. Write 'fps' into it, or set "
                                 'source=dict(default_fps=...); without an annotation, give --fps.')
        return FeatureGrid(rate, stride, self.window_frames or stride)

    def _stored_grid(self, filename: str, stored: dict[str, Any]) -> FeatureGrid:
        for name in ('stride_frames', 'window_frames'):
            wanted = getattr(self, name)
            if wanted is not None and not np.isclose(wanted, stored[name]):
                raise VideoReadError(
                    f'{filename}: the features were extracted with {name}={stored[name]}, the '
                    f'config says {wanted}. Leave {name} out of source, or extract them anew.')
        return FeatureGrid(*(float(stored[name])
                             for name in ('fps', 'stride_frames', 'window_frames')))

    def _check_length(self, filename: str, video: VideoAnnotation, shape: tuple[int, int],
                      grid: FeatureGrid) -> None:
        """Compare the length of the features with the annotation; shape as in the file."""
        num_steps, channels = shape[::-1] if self.channels_first else shape
        seen = grid.num_frames(num_steps)
        annotated = (video.duration_seconds or seen / grid.fps) * grid.fps
        allowed = max(grid.window_frames, grid.stride_frames) + self.length_tolerance * annotated
        if abs(seen - annotated) <= allowed:
            return
        order = '(C, T)' if self.channels_first else '(T, C)'
        advice = 'Check stride_frames and fps, or set source=dict(length_tolerance=...).'
        if abs(grid.num_frames(channels) - annotated) <= allowed:
            advice = (f'As the other order, {channels} steps, the length fits: set '
                      f'source=dict(channels_first={not self.channels_first}).')
        raise VideoReadError(
            f'{filename}: shape {shape} is read as {order}, but its {num_steps} steps at stride '
            f'{grid.stride_frames:g} end at {seen / grid.fps:g} s, and the annotated duration is '
            f'{annotated / grid.fps:g} s. {advice}')
