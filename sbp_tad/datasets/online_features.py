"""Per-frame features of online detection in the folders of LSTR's code."""
from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import torch
from mmengine.dataset import BaseDataset

from sbp_tad.datasets.errors import DatasetError, VideoReadError
from sbp_tad.datasets.item_draws import item_key
from sbp_tad.datasets.readers.feature_files import feature_shape, open_features
from sbp_tad.datasets.transforms import window_generator
from sbp_tad.paths import path_within
from sbp_tad.registry import DATASETS
from sbp_tad.structures import HISTORIES, OnlineDataSample, Window, history_indices


@DATASETS.register_module()
class OnlineFeaturesDataset(BaseDataset):
    """Features and targets of every frame, as LSTR's code stores them.

    ``STREAM/VIDEO.npy`` holds (n, C) features and ``target_perframe/VIDEO.npy``
    (n, 1 + classes) labels of the n frames, background first. The channels of
    the streams are concatenated. ``data_info.json`` is a file of that code: for
    each data set its ``class_names``, ``ignore_index``, ``fps`` and videos.
    TeSTra publishes such folders of THUMOS'14.

    In training an item is a working window with its history. As in that code
    the windows of a video tile it from a frame that is drawn in each epoch,
    and only windows that end before the last frame are used. In testing an
    item is a whole video, which the head cuts into windows.

    Args:
        ann_file: the ``data_info.json``, below ``data_root``.
        data_name: data set in it, ``'THUMOS'`` or ``'TVSeries'``.
        streams: folders of features, in the order of the model's channels.
        targets: folder of the labels.
        split: ``'train'`` or ``'test'``; by default that of ``test_mode``.
        num_frames: T, frames of a working window.
        memory_frames, memory_stride, history_from: of the training windows,
            see :func:`sbp_tad.structures.history_indices`.
        kwargs: options of mmengine's ``BaseDataset``.

    Raises:
        DatasetError: an option out of range, or a ``data_info.json`` that does
            not fit.
        VideoReadError: a missing or damaged file, or streams of unequal length.
    """

    METAINFO: dict = dict(dataset_type='online_features')

    def __init__(self, ann_file: str = 'data_info.json', *, data_name: str = 'THUMOS',
                 streams: Sequence[str] = ('rgb_kinetics_resnet50', 'flow_kinetics_bninception'),
                 targets: str = 'target_perframe', split: str | None = None, num_frames: int = 32,
                 memory_frames: int = 512, memory_stride: int = 4, history_from: str = 'spread',
                 test_mode: bool = False, **kwargs: Any) -> None:
        if min(num_frames, memory_frames, memory_stride) < 1 or not streams:
            raise DatasetError('num_frames, memory_frames, memory_stride and the number of streams '
                               f'must be at least 1, got {num_frames}, {memory_frames}, '
                               f'{memory_stride} and {len(streams)}.')
        if history_from not in HISTORIES:
            raise DatasetError(f'history_from must be one of {HISTORIES}, got {history_from!r}.')
        self.data_name, self.streams, self.targets = data_name, tuple(streams), targets
        self.split = split or ('test' if test_mode else 'train')
        self.num_frames, self.history = num_frames, (memory_frames, memory_stride)
        self.history_from, self.fps, self.ignored_column = history_from, 0.0, None
        super().__init__(ann_file, test_mode=test_mode, **kwargs)

    @property
    def num_channels(self) -> int:
        """Return the channels of all streams, those of the first video."""
        video_id = self.get_data_info(0)['video_id']
        return sum(feature_shape(self._path(stream, video_id))[1] for stream in self.streams)

    def load_data_list(self) -> list[dict[str, Any]]:
        """Return one dict per working window (training) or per video (testing)."""
        info = read_data_info(self.ann_file, self.data_name, self.split)
        names, ignored = list(info['class_names']), info.get('ignore_index', -1)
        self.fps, self.ignored_column = float(info['fps']), ignored if ignored >= 0 else None
        self._metainfo['classes'] = tuple(
            name for column, name in enumerate(names) if column not in (0, ignored))
        lengths = {video: self._length(video, len(names))
                   for video in info[f'{self.split}_session_set']}
        if self.test_mode:
            return [dict(video_id=video, length=length) for video, length in lengths.items()]
        items = [dict(video_id=video, length=length, tile=tile)
                 for video, length in lengths.items()
                 for tile in range((length - 1) // self.num_frames)]
        if not items:
            raise DatasetError(f'{self.ann_file}: no video of the {self.split} set has more than '
                               f'num_frames={self.num_frames} frames, so no window is left.')
        return items

    def prepare_data(self, idx: int) -> dict[str, Any] | None:
        """Read an item; None for a tile that the drawn start of the tiling leaves no room for."""
        item = self.get_data_info(idx)
        if self.test_mode:
            frames = np.arange(item['length'])
            return self._pack(item, frames, Window(item['video_id'], 0, len(frames), 1, self.fps,
                                                   len(frames)))
        start = self._phase(item) + item['tile'] * self.num_frames
        if start + self.num_frames >= item['length']:
            return None
        history, mask = history_indices(start, *self.history, self.history_from)
        frames = np.concatenate([history.clip(min=0), start + np.arange(self.num_frames)])
        window = Window(item['video_id'], start, self.num_frames, 1, self.fps, self.num_frames)
        packed = self._pack(item, frames, window)
        packed['data_samples'].memory_mask = torch.from_numpy(mask)
        return packed

    def _phase(self, item: dict[str, Any]) -> int:
        """Draw the first frame of the tiles of a video, the same for all of them in an epoch."""
        key = item_key()
        rng = window_generator() if key is None else \
            np.random.default_rng([*key[:2], crc32(item['video_id'].encode())])
        return int(rng.integers(min(self.num_frames, item['length'] - self.num_frames)))

    def _pack(self, item: dict[str, Any], frames: np.ndarray, window: Window) -> dict[str, Any]:
        """Return the features of frames (history first) and the targets of a window."""
        video_id, start = item['video_id'], window.first_index
        features = np.concatenate([self._read(stream, video_id, frames)
                                   for stream in self.streams], axis=1)  # (M + T, C)
        targets = self._read(self.targets, video_id, start + np.arange(window.num_frames))
        valid = np.ones(len(targets), dtype=bool)
        if self.ignored_column is not None:
            valid = targets[:, self.ignored_column] != 1
            targets = np.delete(targets, self.ignored_column, axis=1)
        sample = OnlineDataSample(metainfo=dict(
            window=window, video_id=video_id, filename=self._path(self.streams[0], video_id),
            error=None))
        sample.frame_targets, sample.frame_valid = map(torch.from_numpy, (targets, valid))
        return dict(inputs=torch.from_numpy(np.ascontiguousarray(features.T)),
                    data_samples=sample)

    def _path(self, folder: str, video_id: str) -> str:
        return str(path_within(Path(self.data_root or '.') / folder, f'{video_id}.npy'))

    def _read(self, folder: str, video_id: str, frames: np.ndarray) -> np.ndarray:
        """Return rows of a file, float32.

        Raises:
            VideoReadError: a value that is not finite; see also ``open_features``.
        """
        path = self._path(folder, video_id)
        rows = np.asarray(open_features(path)[frames], dtype=np.float32)
        if not np.isfinite(rows).all():
            bad = int(frames[~np.isfinite(rows).all(axis=1)][0])
            raise VideoReadError(f'{path}: row {bad} holds NaN or infinity. Extract the features '
                                 'anew.')
        return rows

    def _length(self, video_id: str, num_columns: int) -> int:
        """Return the labelled frames of a video.

        Raises:
            VideoReadError: a missing file, or fewer features than labels.
            DatasetError: another number of label columns than ``class_names``.
        """
        path = self._path(self.targets, video_id)
        length, columns = feature_shape(path)
        if columns != num_columns:
            raise DatasetError(f'{path} has {columns} columns, but class_names of {self.data_name} '
                               f'in {self.ann_file} has {num_columns}: set data_name or targets.')
        for stream in self.streams:
            found = feature_shape(self._path(stream, video_id))[0]
            if found < length:
                raise VideoReadError(
                    f'{self._path(stream, video_id)} has {found} rows, but {path} labels {length} '
                    'frames. Extract features and labels at the same frame rate.')
        return length


def read_data_info(path: str, data_name: str, split: str) -> dict[str, Any]:
    """Return the entry of a data set in a ``data_info.json``.

    Raises:
        DatasetError: no such file, no such data set, or a missing key.
    """
    try:
        content = json.loads(Path(path).read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        raise DatasetError(f'{path} cannot be read as JSON ({error}). Copy data/data_info.json of '
                           "LSTR's code there, or set ann_file.") from error
    if not isinstance(content, dict) or not isinstance(content.get(data_name), dict):
        found = list(content) if isinstance(content, dict) else type(content).__name__
        raise DatasetError(f'{path} has no data set {data_name!r}, it has {found}: set data_name '
                           'to one of them.')
    needed = ('class_names', 'fps', f'{split}_session_set')
    missing = [key for key in needed if key not in content[data_name]]
    if missing:
        raise DatasetError(f'{path}: {data_name} has no {missing[0]!r}; needed are {needed}.')
    return content[data_name]
