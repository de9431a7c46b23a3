"""Windows of any video, read in batches by the test pipeline of a config."""
from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from mmengine.dataset import Compose
from torch.utils.data import DataLoader, Dataset

from sbp_tad.annotations import VideoAnnotation
from sbp_tad.apis.inference.inputs import InputVideo
from sbp_tad.datasets import TemporalDetectionDataset, VideoFiles, build_pipeline
from sbp_tad.datasets.frame_clock import FrameClock
from sbp_tad.datasets.readers.video_header import VideoHeader
from sbp_tad.structures import Window

Item = dict[str, Any]  # of TemporalDetectionDataset: one window


@dataclass(frozen=True)
class ArrayFrames(VideoFiles):
    """Videos whose frames are in memory, read by mmaction's ``ArrayDecode``.

    Args:
        arrays: frames (T, H, W, 3) by video id.
        fps: frame rate of all arrays.
    """

    arrays: Mapping[str, np.ndarray]
    fps: float

    def inspect(self, filename: str, video: VideoAnnotation) -> dict[str, Any]:
        """Return the header and the frames."""
        frames = self.arrays[video.video_id]
        return dict(video_header=VideoHeader(FrameClock(len(frames), self.fps)), array=frames)


class WindowReads(Dataset):
    """Windows of videos without annotation; files are opened one after the other.

    Args:
        dataset: test set whose pipeline, window size and overlap are used.
        videos: videos to read.
        fps: frame rate of arrays, and of frames and features that do not state
            theirs; for a video file the rate in which ``stride_frames`` counts.
    """

    def __init__(self, dataset: TemporalDetectionDataset, videos: Sequence[InputVideo],
                 fps: float | None = None) -> None:
        self.videos = {video.video_id: video for video in videos}
        self.fps = fps
        self.files = dataset
        arrays = {video.video_id: video.frames for video in videos if video.frames is not None}
        self.arrays = on_arrays(dataset, arrays, fps) if arrays else None
        self.num_windows: dict[str, int] = {}
        self.duration_seconds: dict[str, float | None] = {}

    def items(self, video: InputVideo) -> list[Item]:
        """Return the windows of a video; one item with ``error`` if it cannot be opened."""
        unknown = VideoAnnotation(video.video_id, '', None, self.fps, None, np.empty((0, 2)), ())
        name = video.filename or video.video_id
        items = self._dataset(video.video_id).file_items(name, unknown)
        if video.filename and not os.path.exists(name):  # the data set would blame the config
            items[0]['error'] = f'{name}: no such file or folder.'
        return items

    def batches(self, batch_size: int) -> Iterator[list[Item]]:
        """Yield the windows of all videos in order, ``batch_size`` at a time."""
        batch: list[Item] = []
        for video in self.videos.values():
            items = self.items(video)
            self.num_windows[video.video_id] = len(items)
            self.duration_seconds[video.video_id] = items[0]['annotation'].duration_seconds
            for item in items:
                batch.append(item)
                if len(batch) == batch_size:
                    yield batch
                    batch = []
        if batch:
            yield batch

    def __getitem__(self, item: Item) -> dict[str, Any]:
        """Return the packed window of an item, or the failure to read it."""
        return self._dataset(item['video_id']).read(dict(item))

    def load(self, batch_size: int, num_workers: int, collate: Callable) -> Iterator[Any]:
        """Yield batches for the model; only a few are in memory at the same time."""
        return iter(DataLoader(self, batch_sampler=self.batches(batch_size),
                               num_workers=num_workers, collate_fn=collate))

    def thumbnails(self, video: InputVideo, count: int, height: int = 160) -> list[np.ndarray]:
        """Return frames (h, w, 3) from the middles of ``count`` equal parts of a video.

        Their height is near ``height``. The list is empty for features and for
        unreadable videos.
        """
        item = self.items(video)[0]
        annotation, dataset = item['annotation'], copy(self._dataset(video.video_id))
        transforms = dataset.pipeline.transforms
        ends = [place for place, name in enumerate(map(_name, transforms))
                if name.endswith('Decode')]
        if not ends or item['window'] is None:
            return []
        part = annotation.duration_seconds * annotation.fps / count
        dataset.pipeline = Compose(transforms[:ends[0] + 1])
        # One by one, because decoders read all frames between two.
        windows = [Window(video.video_id, number * part, 1, part, annotation.fps, 1)
                   for number in range(count)]
        images = [image for window in windows
                  for image in dataset.read(dict(item, window=window)).get('imgs', ())]
        return [image[::max(1, len(image) // height), ::max(1, len(image) // height)]
                for image in images]

    def _dataset(self, video_id: str) -> TemporalDetectionDataset:
        return self.files if self.videos[video_id].frames is None else self.arrays


def on_arrays(dataset: TemporalDetectionDataset, arrays: Mapping[str, np.ndarray], fps: float
              ) -> TemporalDetectionDataset:
    """Return a copy of the data set that reads frames from memory instead of files."""
    decode, = build_pipeline([dict(type='ArrayDecode')])
    transforms = [decode if _name(transform).endswith('Decode') else transform
                  for transform in dataset.pipeline.transforms
                  if not _name(transform).endswith('Init')]
    twin = copy(dataset)
    twin.source, twin.pipeline = ArrayFrames(arrays, fps), Compose(transforms)
    return twin


def _name(transform: Callable) -> str:
    return type(transform).__name__
