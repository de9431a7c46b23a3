"""Inputs of an inferencer, as a list of named videos."""
from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sbp_tad.apis.errors import InferenceError
from sbp_tad.apis.named_files import check_inputs
from sbp_tad.datasets.file_names import video_id_of
from sbp_tad.datasets.readers.feature_files import READERS

VIDEO_SUFFIXES = frozenset(
    '.264 .265 .3gp .asf .avi .divx .flv .h264 .h265 .hevc .m2ts .m2v .m4v .mkv .mov .mp4 .mpeg '
    '.mpg .mts .mxf .ogv .ts .vob .webm .wmv .y4m'.split())
# Key of the dataset's data_prefix -> suffixes of the files that the detector reads.
SUFFIXES = dict(video=VIDEO_SUFFIXES, features=frozenset(READERS))
IMAGE_SUFFIXES = frozenset(('.bmp', '.jpeg', '.jpg', '.png', '.tif', '.tiff', '.webp'))

OneInput = str | os.PathLike | np.ndarray


@dataclass(frozen=True, eq=False)
class InputVideo:
    """One video: a file (or folder of frames), or frames in memory.

    Args:
        video_id: its name in the results.
        filename: its path; None for frames in memory.
        frames: (T, H, W, 3) uint8 RGB, any array type that slices; else None.
    """

    video_id: str
    filename: str | None
    frames: np.ndarray | None = None

    @property
    def fingerprint(self) -> dict[str, int] | None:
        """Return size and time of change, which identify a file; None if unknown."""
        if self.filename is None or not os.path.exists(self.filename):
            return None
        stat = os.stat(self.filename)
        return dict(num_bytes=stat.st_size, modified_ns=stat.st_mtime_ns)

    @property
    def weight(self) -> int:
        """Return the relative amount of work, at least 1."""
        if self.frames is not None:
            return max(1, len(self.frames))
        return max(1, (self.fingerprint or dict(num_bytes=1))['num_bytes'])


def list_videos(inputs: OneInput | Sequence[OneInput], kind: str,
                template: str | None = None) -> list[InputVideo]:
    """List the videos of a path, an array, or a list of them, each with a unique name.

    A folder means all videos below it, sorted by name. A file whose name follows
    the template has the id of the annotation as its name, here ``abc`` for
    ``v_abc.mp4`` and ``'v_{video_id}.mp4'``. Another file below a folder has
    its path there without the suffix, any other file its file name without the
    suffix. Arrays are named ``array_0`` and so on. Files with the same name
    keep their suffix. Files must exist, and are not opened here.

    Args:
        inputs: the inputs of the user.
        kind: ``'video'``, ``'frames'`` or ``'features'``, the key of
            ``data_prefix`` of the dataset.
        template: ``filename_template`` of the dataset; any suffix is accepted.
            None names files by themselves.

    Raises:
        InferenceError: a path does not exist, a folder holds no video, an array is not a
            video, a type is not accepted, or two inputs have the same name.
    """
    template = template or ('{video_id}' if kind == 'frames' else '{video_id}.mp4')
    many = inputs if isinstance(inputs, (list, tuple)) else [inputs]
    check_inputs(given for given in many if isinstance(given, (str, os.PathLike)))
    videos = [video for number, given in enumerate(many)
              for video in _videos_of(given, number, kind, template)]
    if not videos:
        raise InferenceError('no input; give a video, a folder, an array or a list.')
    return _told_apart(videos)


def _videos_of(given: Any, number: int, kind: str, template: str) -> Iterable[InputVideo]:
    if isinstance(given, np.ndarray):
        return [InputVideo(f'array_{number}', None, _checked(given, kind))]
    if not isinstance(given, (str, os.PathLike)):
        raise InferenceError('an input must be a path, a folder or an array (T, H, W, 3) of '
                             f'uint8, got {type(given).__name__}.')
    path = Path(given)
    if not path.is_dir() or kind == 'frames' and _holds_images(path):
        return [InputVideo(video_id_of(path, template), str(path))]
    found = sorted(_below(path, kind))
    if not found:
        wanted = 'folders of images' if kind == 'frames' else \
            f'files ending in {", ".join(sorted(SUFFIXES[kind]))}'
        raise InferenceError(f'{path}: no video in this folder; this detector reads '
                             f'{wanted}. Give another folder, or the files by name.')
    return [InputVideo(video_id_of(file, template, path), str(file)) for file in found]


def _below(folder: Path, kind: str) -> Iterable[Path]:
    for parent, folders, files in os.walk(folder, followlinks=False):
        folders[:] = [name for name in folders if not name.startswith('.')]
        if kind == 'frames':
            yield from (Path(parent) / name for name in folders
                        if _holds_images(Path(parent) / name))
        else:
            yield from (Path(parent) / name for name in files
                        if Path(name).suffix.lower() in SUFFIXES[kind]
                        and not name.startswith('.'))


def _holds_images(folder: Path) -> bool:
    with os.scandir(folder) as entries:
        return any(Path(entry.name).suffix.lower() in IMAGE_SUFFIXES for entry in entries)


def _checked(frames: np.ndarray, kind: str) -> np.ndarray:
    if kind == 'features':
        raise InferenceError('this detector reads feature files, not frames; give the path of '
                             f'a file ({", ".join(sorted(READERS))}).')
    if frames.ndim != 4 or frames.shape[3] != 3 or not len(frames) or frames.dtype != np.uint8:
        raise InferenceError('an array must hold the frames of a video, (T, H, W, 3) uint8 RGB '
                             f'with T above 0, got {frames.dtype} of shape {frames.shape}.')
    return frames


def _told_apart(videos: list[InputVideo]) -> list[InputVideo]:
    """Add the suffix of the file to equal names; then all names must differ."""
    counts = Counter(video.video_id for video in videos)
    videos = [replace(video, video_id=video.video_id + Path(video.filename).suffix)
              if counts[video.video_id] > 1 and video.filename else video for video in videos]
    counts = Counter(video.video_id for video in videos)
    name, count = counts.most_common(1)[0]
    if count > 1:
        raise InferenceError(f'{count} inputs have the same name {name!r}. Rename them, or give '
                             'them in separate calls.')
    return videos
