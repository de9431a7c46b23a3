"""What may be given to an inferencer, as a list of videos with names."""
from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sbp_tad.apis.errors import InferenceError
from sbp_tad.datasets.readers.feature_files import READERS

VIDEO_SUFFIXES = frozenset(
    '.3gp .asf .avi .divx .flv .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .mts .mxf .ogv .ts .vob .webm '
    '.wmv .y4m'.split())
# What files of a folder a detector takes: by the key of its dataset's data_prefix.
SUFFIXES = dict(video=VIDEO_SUFFIXES, features=frozenset(READERS))
IMAGE_SUFFIXES = frozenset(('.bmp', '.jpeg', '.jpg', '.png', '.tif', '.tiff', '.webp'))

OneInput = str | os.PathLike | np.ndarray


@dataclass(frozen=True, eq=False)
class InputVideo:
    """One video: a file (or folder of frames), or frames in memory.

    Args:
        video_id: its name in the results.
        filename: where it lies; None for frames in memory.
        frames: (T, H, W, 3) uint8 RGB, any array type that slices; else None.
    """

    video_id: str
    filename: str | None
    frames: np.ndarray | None = None

    @property
    def fingerprint(self) -> dict[str, int] | None:
        """Size and time of change, by which a file is known to be the same; None if unknown."""
        if self.filename is None or not os.path.exists(self.filename):
            return None
        stat = os.stat(self.filename)
        return dict(num_bytes=stat.st_size, modified_ns=stat.st_mtime_ns)

    @property
    def weight(self) -> int:
        """How much work it is, compared with others of a list; at least 1."""
        if self.frames is not None:
            return max(1, len(self.frames))
        return max(1, (self.fingerprint or dict(num_bytes=1))['num_bytes'])


def list_videos(inputs: OneInput | Sequence[OneInput], kind: str) -> list[InputVideo]:
    """The videos of a path, an array, or a list of them, each under a name of its own.

    A folder stands for all videos below it, in the order of their names, and
    they are named by their path in it, less the suffix; other files by their
    name less the suffix; arrays ``array_0`` and so on. Files of one name keep
    their suffix. Whether a file can be read turns out later.

    Args:
        inputs: what the user gave.
        kind: of what the detector reads: ``'video'``, ``'frames'`` or
            ``'features'``, see ``data_prefix`` of the dataset.

    Raises:
        InferenceError: a folder without videos, an array that is no video,
            another type, or two inputs of one name.
    """
    many = inputs if isinstance(inputs, (list, tuple)) else [inputs]
    videos = [video for number, given in enumerate(many)
              for video in _videos_of(given, number, kind)]
    if not videos:
        raise InferenceError('there is no input; give a video, a folder, an array or a list.')
    return _told_apart(videos)


def _videos_of(given: Any, number: int, kind: str) -> Iterable[InputVideo]:
    if isinstance(given, np.ndarray):
        return [InputVideo(f'array_{number}', None, _checked(given, kind))]
    if not isinstance(given, (str, os.PathLike)):
        raise InferenceError('an input must be a path, a folder or an array (T, H, W, 3) of '
                             f'uint8, got {type(given).__name__}.')
    path = Path(given)
    if not path.is_dir() or kind == 'frames' and _holds_images(path):
        return [InputVideo(path.name if path.is_dir() else path.stem, str(path))]
    found = sorted(_below(path, kind))
    if not found:
        wanted = 'folders of images' if kind == 'frames' else \
            f'files ending in {", ".join(sorted(SUFFIXES[kind]))}'
        raise InferenceError(f'{path}: there is no video in this folder; this detector reads '
                             f'{wanted}. Give another folder, or the files by name.')
    return [InputVideo(file.relative_to(path).with_suffix('').as_posix()
                       if file.is_file() else file.relative_to(path).as_posix(), str(file))
            for file in found]


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
        raise InferenceError('this detector reads feature files and not frames; give the path of '
                             f'a file ({", ".join(sorted(READERS))}).')
    if frames.ndim != 4 or frames.shape[3] != 3 or not len(frames) or frames.dtype != np.uint8:
        raise InferenceError('an array must be the frames of a video, (T, H, W, 3) uint8 RGB with '
                             f'T above 0, got {frames.dtype} of shape {frames.shape}.')
    return frames


def _told_apart(videos: list[InputVideo]) -> list[InputVideo]:
    """Videos of one name keep the suffix of their file; then no name may stand twice."""
    counts = Counter(video.video_id for video in videos)
    videos = [replace(video, video_id=video.video_id + Path(video.filename).suffix)
              if counts[video.video_id] > 1 and video.filename else video for video in videos]
    counts = Counter(video.video_id for video in videos)
    name, count = counts.most_common(1)[0]
    if count > 1:
        raise InferenceError(f'{count} inputs are called {name!r}, so that their results could '
                             'not be told apart. Rename them, or give them in separate calls.')
    return videos
