"""Pre-extracted features in place of frames: which moments their steps stand for."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch.nn import functional as F

from sbp_tad.annotations import VideoAnnotation
from sbp_tad.datasets.errors import DatasetError, VideoReadError
from sbp_tad.datasets.readers.feature_files import feature_shape, open_features, read_sidecar
from sbp_tad.datasets.readers.sources import VideoFiles
from sbp_tad.datasets.readers.video_header import VideoHeader, with_timing
from sbp_tad.datasets.windows import WindowSize, sliding_window_starts
from sbp_tad.structures import Window

COVERS = ('windows', 'whole', 'resize')
_ROUNDING_STEPS = 1e-6


@dataclass(frozen=True)
class FeatureGrid:
    """The moments that the steps of a video's features stand for.

    Step ``t`` was computed from the video frames ``[t * stride_frames, t *
    stride_frames + window_frames)``. Its moment is their middle, ``(t *
    stride_frames + window_frames / 2) / fps`` seconds, as in ActionFormer.
    """

    fps: float
    stride_frames: float
    window_frames: float

    @property
    def offset_frames(self) -> float:
        """Where the time that step 0 stands for begins: its middle is half a stride later."""
        return (self.window_frames - self.stride_frames) / 2

    def num_steps(self, video_frames: float) -> int:
        """Steps whose windows reach to the end of a video."""
        beyond = (video_frames - self.window_frames) / self.stride_frames
        return 1 + max(0, int(np.ceil(beyond - _ROUNDING_STEPS)))

    def num_frames(self, num_steps: int) -> float:
        """Video frames that so many steps have seen."""
        return (num_steps - 1) * self.stride_frames + self.window_frames

    def window(self, video_id: str, first_step: int, num_steps: int, valid_steps: int,
               width_steps: float = 1.0) -> Window:
        """Steps from ``first_step`` on as a window; resized ones are ``width_steps`` wide."""
        return Window(video_id, self.offset_frames + first_step * self.stride_frames, num_steps,
                      self.stride_frames * width_steps, self.fps, valid_steps,
                      max(0.0, self.offset_frames))


@dataclass(frozen=True)
class FeatureFile:
    """The features of one video: ``num_steps`` steps on a grid."""

    path: str
    key: str | None
    channels_first: bool
    num_steps: int
    grid: FeatureGrid
    cover: str

    def window(self, video_id: str, first_step: int, num_steps: int) -> Window:
        """A window of ``num_steps`` steps, padded where the features end, or of all resized."""
        if self.cover == 'resize':
            return self.grid.window(video_id, 0, num_steps, num_steps, self.num_steps / num_steps)
        valid = min(num_steps, self.num_steps - first_step)
        return self.grid.window(video_id, first_step, num_steps, valid)

    def read(self, window: Window) -> np.ndarray:
        """Features of a window: (C, T) float32, zeros where it is padded.

        Raises:
            VideoReadError: values that are not finite, besides those of ``open_features``.
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
    """Features extracted beforehand, read by :class:`LoadFeatures`.

    Stride and window are counted in video frames at the annotation's fps. A
    sidecar JSON beside a file, as ``tools/extract_features.py`` writes it,
    knows them (and its fps) for each video; given both, they must agree.

    Args:
        stride_frames: between two steps. Absent without a sidecar, and
            possible with ``cover='resize'`` alone, the steps divide the video
            evenly.
        window_frames: that a step was computed from; the stride by default.
        num_channels: C, checked if given.
        channels_first: files hold (C, T) and not (T, C).
        key: of the array in files of several, in which ``{video_id}`` is
            filled in.
        cover: ``'windows'``: test windows of ``num_frames`` steps slide over
            the video; ``'whole'``: a test window is the video, padded to
            ``num_frames`` steps if shorter (test batches of unlike lengths
            are padded); in training both draw windows from videos that are
            longer. ``'resize'``: always the whole video, interpolated
            linearly to ``num_frames`` steps.
        length_tolerance: share of the video by which the features may be
            longer or shorter than the annotation says, besides a window.

    Raises:
        DatasetError: options that cannot work.
    """

    filename_template: ClassVar[str] = '{video_id}.npy'
    stride_frames: float | None = None
    window_frames: float | None = None
    num_channels: int | None = None
    channels_first: bool = False
    key: str | None = None
    cover: str = 'windows'
    length_tolerance: float = 0.05

    def __post_init__(self) -> None:
        if self.cover not in COVERS:
            raise DatasetError(f'cover must be one of {COVERS}, got {self.cover!r}.')
        for name in ('stride_frames', 'window_frames', 'num_channels'):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise DatasetError(f'{name} must be above 0, got {value!r}.')
        if self.window_frames and not self.stride_frames:
            raise DatasetError('window_frames needs stride_frames beside it.')

    def window_size(self, num_frames: int, stride_frames: float | None,
                    target_fps: float | None) -> WindowSize:
        """Windows count steps.

        Raises:
            DatasetError: a stride or fps of the dataset itself.
        """
        if stride_frames is not None or target_fps is not None:
            raise DatasetError('The steps of features are given: set source=dict(stride_frames='
                               '...) and no stride_frames or target_fps of the dataset.')
        return WindowSize(num_frames, stride_frames=1)

    def inspect(self, filename: str, video: VideoAnnotation) -> dict[str, Any]:
        """``feature_file`` and a header with the length that its steps reach to.

        Raises:
            VideoReadError: the file cannot be used.
        """
        key = self.key and self.key.format(video_id=video.video_id)
        num_steps = self._num_steps(filename, feature_shape(filename, key))
        grid = self._grid(filename, video, num_steps)
        self._check_length(filename, video, num_steps, grid)
        file = FeatureFile(filename, key, self.channels_first, num_steps, grid, self.cover)
        header = VideoHeader(max(1, round(grid.num_frames(num_steps))), grid.fps)
        return dict(video_header=header, feature_file=file)

    def windows(self, filename: str, video: VideoAnnotation, size: WindowSize,
                overlap: float | None) -> tuple[VideoAnnotation, list[Window]]:
        """Test windows on the steps of a file; opens every file.

        Raises:
            VideoReadError: the file cannot be used.
        """
        known = self.inspect(filename, video)
        file, num_steps = known['feature_file'], size.num_frames
        starts = np.zeros(1, dtype=int)
        if self.cover == 'windows':
            assert overlap is not None  # online detection refuses features
            starts = sliding_window_starts(file.num_steps, num_steps, overlap).astype(int)
        elif self.cover == 'whole':
            num_steps = max(num_steps, file.num_steps)
        return (with_timing(video, known['video_header']),
                [file.window(video.video_id, int(start), num_steps) for start in starts])

    def _num_steps(self, filename: str, shape: tuple[int, int]) -> int:
        num_steps, channels = shape[::-1] if self.channels_first else shape
        if not num_steps:
            raise VideoReadError(f'{filename}: the file holds no step. Extract the features anew.')
        if self.num_channels not in (None, channels):
            order = '(C, T)' if self.channels_first else '(T, C)'
            raise VideoReadError(
                f'{filename}: expected {self.num_channels} channels, got shape {shape} read as '
                f'{order}. Set num_channels or channels_first in source.')
        return num_steps

    def _grid(self, filename: str, video: VideoAnnotation, num_steps: int) -> FeatureGrid:
        stored = read_sidecar(filename)
        if stored:
            return self._stored_grid(filename, stored)
        stride, seconds = self.stride_frames, video.duration_seconds
        if stride is None:
            if self.cover != 'resize' or not seconds:
                raise VideoReadError(
                    f'{filename}: nothing says how many video frames lie between two steps. Set '
                    "source=dict(stride_frames=...); with cover='resize' and an annotated "
                    'duration the steps may divide the video evenly.')
            fps = video.fps or 1.0  # cancels out: the steps share the seconds
            return FeatureGrid(fps, seconds * fps / num_steps, seconds * fps / num_steps)
        if not video.fps:
            raise VideoReadError(f'{filename}: the annotation has no fps, in which the stride of '
                                 "the features is counted. Write 'fps' into it.")
        return FeatureGrid(video.fps, stride, self.window_frames or stride)

    def _stored_grid(self, filename: str, stored: dict[str, Any]) -> FeatureGrid:
        for name in ('stride_frames', 'window_frames'):
            wanted = getattr(self, name)
            if wanted is not None and not np.isclose(wanted, stored[name]):
                raise VideoReadError(
                    f'{filename}: the features were extracted with {name}={stored[name]}, the '
                    f'config says {wanted}. Leave {name} out of source, or extract them anew.')
        return FeatureGrid(*(float(stored[name])
                             for name in ('fps', 'stride_frames', 'window_frames')))

    def _check_length(self, filename: str, video: VideoAnnotation, num_steps: int,
                      grid: FeatureGrid) -> None:
        seen = grid.num_frames(num_steps)
        annotated = (video.duration_seconds or seen / grid.fps) * grid.fps
        allowed = max(grid.window_frames, grid.stride_frames) + self.length_tolerance * annotated
        if abs(seen - annotated) > allowed:
            raise VideoReadError(
                f'{filename}: {num_steps} steps at stride {grid.stride_frames:g} reach to '
                f'{seen / grid.fps:g} s, the annotation says {annotated / grid.fps:g} s. Check '
                'stride_frames and fps, or set source=dict(length_tolerance=...).')
