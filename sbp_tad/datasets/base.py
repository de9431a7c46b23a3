"""One dataset for every annotation in ActivityNet's form."""
from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset
from mmengine.logging import print_log
from mmengine.structures import BaseDataElement

from sbp_tad.annotations import (
    VideoAnnotation,
    check_annotation,
    num_out_of_range,
    read_annotations,
)
from sbp_tad.datasets.errors import DatasetError, VideoReadError
from sbp_tad.datasets.file_names import check_template, listed_names, with_suffix
from sbp_tad.datasets.pipeline_check import check_pipeline, missing_entry
from sbp_tad.datasets.readers.decoder_limits import cure_for
from sbp_tad.datasets.readers.sources import build_source
from sbp_tad.datasets.readers.video_decoding import scale_alike
from sbp_tad.datasets.readers.video_files import VideoFiles
from sbp_tad.datasets.readers.video_header import (
    DECODER_ERRORS,
    DURATION_TOLERANCE_SECONDS,
    FPS_TOLERANCE,
    VideoHeader,
)
from sbp_tad.datasets.transforms import build_pipeline, pack_failure
from sbp_tad.datasets.windows import sliding_window_starts
from sbp_tad.paths import path_within
from sbp_tad.registry import DATASETS
from sbp_tad.structures import TADDataSample
from sbp_tad.wording import agreeing, count_of


@DATASETS.register_module()
class TemporalDetectionDataset(BaseDataset):
    """Untrimmed videos with annotated actions.

    In training an item is a video, and ``SampleWindow`` draws its window. In
    testing an item is one window; the windows of a video cover it to its end.
    A subclass declares its classes in ``METAINFO`` and its defaults as class
    attributes. For your own set give ``metainfo=dict(classes=[...])`` and
    ``subsets`` in the config.

    An unreadable test window becomes a data sample with ``error`` and without
    input, so that the run continues.

    Args:
        ann_file: annotation, see :mod:`sbp_tad.annotations`.
        subsets: subsets to use; ``None`` takes the declared ones.
        num_frames, stride_frames, target_fps: see :class:`WindowSize`. For
            features ``num_frames`` counts steps, and the other two are not set.
        overlap: share in [0, 1) that neighbouring test windows have in common;
            None for windows that tile the video, the last one padded.
        windows_per_video: windows per video in an epoch of training.
        ignored_labels: labels that are no class; their segments are removed.
        excluded_videos: videos of the subsets that are not used; also ``.txt``
            files that list them, below ``data_root``.
        out_of_range: ``'error'`` or ``'clip'`` for segments outside the video.
        tolerance_seconds: accepted distance of a segment's end from the video.
        on_bad_video: ``'raise'`` or ``'skip'`` (in training: the video is
            reported, listed in ``bad_videos`` and replaced by another one).
        data_prefix: folder of ``video`` files, ``frames`` or ``features``.
        source: options of :class:`FrameFolders` or :class:`FeatureFiles`.
        filename_template: file of a video below ``data_prefix``; by default
            that of the source.
        filter_cfg: ``dict(filter_empty_gt=False)`` keeps training videos
            without an action.
        kwargs: options of mmengine's ``BaseDataset``.

    Raises:
        DatasetError: options out of range, or that contradict each other.
        AnnotationError: a fault in the annotation.
    """

    METAINFO: dict = dict(dataset_type='temporal_action_detection')
    sample_type: type[BaseDataElement] = TADDataSample
    protocol: int | str | None = None
    bad_items_file: str | None = None  # set by BadItemsHook
    TRAIN_SUBSETS: tuple[str, ...] = ()
    TEST_SUBSETS: tuple[str, ...] = ()
    IGNORED_LABELS: tuple[str, ...] = ()
    VIDEO_TEMPLATE: str | None = None  # published names of the video files

    def __init__(self, ann_file: str, *, num_frames: int, stride_frames: float | None = None,
                 target_fps: float | None = None, subsets: Sequence[str] | str | None = None,
                 overlap: float | None = 0.5, windows_per_video: int = 1,
                 ignored_labels: Collection[str] | None = None,
                 excluded_videos: Collection[str] = (), out_of_range: str = 'error',
                 tolerance_seconds: float = 0.1, on_bad_video: str = 'raise',
                 filename_template: str | None = None, data_prefix: dict | None = None,
                 source: dict | None = None, pipeline: Sequence[dict | Callable] = (),
                 test_mode: bool = False, **kwargs: Any) -> None:
        data_prefix = dict(video='videos') if data_prefix is None else data_prefix
        self.source = build_source(data_prefix, source)
        self.window_size = self.source.window_size(num_frames, stride_frames, target_fps)
        if overlap is not None:
            sliding_window_starts(1, 1, overlap)  # refuse a wrong overlap at once
        declared = self.TEST_SUBSETS if test_mode else self.TRAIN_SUBSETS
        self.subsets = _as_tuple(subsets or declared)
        self.overlap = overlap
        self.windows_per_video = windows_per_video
        self.ignored_labels = _as_tuple(
            self.IGNORED_LABELS if ignored_labels is None else ignored_labels)
        self.excluded_videos = listed_names(excluded_videos, kwargs.get('data_root'))
        self.out_of_range = out_of_range
        self.tolerance_seconds = tolerance_seconds
        self.on_bad_video = on_bad_video
        self.filename_template = check_template(filename_template or self._default_template())
        self.bad_videos: dict[str, str] = {}
        self._compared: set[str] = set()
        transforms = build_pipeline(pipeline)
        check_pipeline(next(iter(data_prefix)), transforms)
        super().__init__(ann_file, data_prefix=data_prefix, pipeline=transforms,
                         test_mode=test_mode, **kwargs)

    @property
    def metainfo(self) -> dict[str, Any]:
        """Return classes and protocol; in testing also the settings of the ground truth.

        Training sets omit the latter: ``ConcatDataset`` joins only sets of
        equal meta information.
        """
        info = dict(super().metainfo, protocol=self.protocol)
        if self.test_mode:
            info.update(ann_file=str(self.ann_file), subsets=self.subsets,
                        ignored_labels=self.ignored_labels,
                        excluded_videos=self.excluded_videos, out_of_range=self.out_of_range)
        return info

    def load_data_list(self) -> list[dict[str, Any]]:
        """Return one dict per video (training) or per window (testing)."""
        self._check_declaration()
        videos = [video for video in read_annotations(self.ann_file, self.subsets).values()
                  if video.video_id not in self.excluded_videos]
        videos = self._without_empty(videos)
        self._check_files(len(videos))
        self._report_out_of_range(videos)
        parse = self._test_items if self.test_mode else self._train_items
        return [item for video in videos for item in parse(video)]

    def filter_data(self) -> list[dict[str, Any]]:
        """Remove training videos without an action; refuse an empty set."""
        items = self.data_list
        if not self.test_mode and (self.filter_cfg or {}).get('filter_empty_gt', True):
            items = [item for item in items if len(item['annotation'])]
        if not items:
            raise DatasetError(
                f'{self.ann_file}: no video is left in the subsets {list(self.subsets)} after '
                'excluded videos, and in training videos without an action, are removed.')
        return items

    def get_cat_ids(self, idx: int) -> list[int]:
        """Return the class indices of an item's actions, for ``ClassBalancedDataset``."""
        labels = set(self.get_data_info(idx)['annotation'].labels)
        return sorted(self._metainfo['classes'].index(label) for label in labels)

    def prepare_data(self, idx: int) -> dict[str, Any] | None:
        """Run the pipeline on an item; return ``None`` for a skipped training video."""
        return self.read(self.get_data_info(idx))

    def read(self, info: dict[str, Any]) -> dict[str, Any] | None:
        """Run the pipeline on an item of the data list, or on one with another ``window``."""
        if not self.test_mode and info['video_id'] in self.bad_videos:
            return None
        try:
            return self._read(info)
        except VideoReadError as error:
            if not self.test_mode and self.on_bad_video == 'raise':
                raise
            self._report_bad(info['video_id'], str(error))
            if self.test_mode:
                return pack_failure(info['video_id'], info['window'], info['filename'],
                                    str(error), self.sample_type)
            return None

    def _rand_another(self) -> int:
        """Draw an item of a video that is not known to be bad."""
        good = [index for index in range(len(self))
                if self.get_data_info(index)['video_id'] not in self.bad_videos]
        if not good:
            raise VideoReadError(
                f'{self.ann_file}: no video can be read ({len(self.bad_videos)} tried). '
                f'The first: {next(iter(self.bad_videos.values()))}')
        return int(np.random.choice(good))

    def _read(self, info: dict[str, Any]) -> dict[str, Any] | None:
        """Run the pipeline; turn a decoder's error into a ``VideoReadError``."""
        if info['window'] is None and self.test_mode:
            raise VideoReadError(info['error'])
        info.update(self.source.inspect(info['filename'], info['annotation']))
        self._compare(info['annotation'], info['video_header'])
        for transform in self.pipeline.transforms:
            # names of all transforms of mmaction that open the file;
            # an error of another transform is a bug and must stay visible
            reads = type(transform).__name__.endswith(('Init', 'Decode'))
            try:
                info = transform(info)
            except DECODER_ERRORS as error:
                if not reads or isinstance(error, VideoReadError):
                    raise
                raise VideoReadError(
                    f"{info['filename']}: the video cannot be decoded ({_first_line(error)}). "
                    f"{cure_for(type(transform).__name__)}, or set on_bad_video='skip'."
                ) from error
            except KeyError as error:
                fault = missing_entry(error, transform, info, self.pipeline.transforms)
                if fault is None:
                    raise
                raise DatasetError(fault) from error
            if info is None:
                return None
            if reads and 'imgs' in info:
                info['imgs'] = scale_alike(info['imgs'])
        return info

    def file_items(self, filename: str, video: VideoAnnotation) -> list[dict[str, Any]]:
        """Return the test items of any file: its windows in order, or one item with ``error``."""
        item = self._item(filename, video)
        try:
            video, windows = self.source.windows(filename, video, self.window_size, self.overlap)
        except VideoReadError as error:
            return [dict(item, annotation=self._check(video), error=str(error))]
        item['annotation'] = self._check(video)
        return [dict(item, window=window) for window in windows]

    def _default_template(self) -> str:
        """Return the published names of videos, with the suffix of the source."""
        own = self.source.filename_template
        if self.VIDEO_TEMPLATE is None or type(self.source) is VideoFiles:
            return self.VIDEO_TEMPLATE or own
        return with_suffix(self.VIDEO_TEMPLATE, own.partition('}')[2])

    def _filename(self, video: VideoAnnotation) -> str:
        folder, = self.data_prefix.values()
        path_within(folder, video.video_id)  # comes from the annotation; the template does not
        return str(Path(folder) / self.filename_template.format(video_id=video.video_id))

    def _item(self, filename: str, video: VideoAnnotation) -> dict[str, Any]:
        return dict(
            filename=filename, video_id=video.video_id, annotation=video,
            class_names=self._metainfo['classes'], modality='RGB', start_index=0, window=None)

    def _train_items(self, video: VideoAnnotation) -> list[dict[str, Any]]:
        item = self._item(self._filename(video), self._check(video))
        return [dict(item, window_size=self.window_size)] * self.windows_per_video

    def _test_items(self, video: VideoAnnotation) -> list[dict[str, Any]]:
        return self.file_items(self._filename(video), video)

    def _check(self, video: VideoAnnotation) -> VideoAnnotation:
        return check_annotation(video, self._metainfo['classes'], self.ignored_labels,
                                self.out_of_range, self.tolerance_seconds)

    def _check_files(self, num_videos: int) -> None:
        """Refuse a file name that is the same for several videos."""
        key = getattr(self.source, 'key', None) or ''
        if num_videos > 1 and not any('{video_id}' in each for each in (
                self.filename_template, key)):
            raise DatasetError(
                f'filename_template {self.filename_template!r} names the same file for all '
                f"{num_videos} videos. Write for example '{{video_id}}.mp4', or for one file with "
                "the features of all videos source=dict(key='{video_id}').")

    def _check_declaration(self) -> None:
        classes = self._metainfo.get('classes', ())
        if isinstance(classes, str):
            raise DatasetError(f'metainfo.classes must be a list of names, got {classes!r}. Write '
                               f'metainfo=dict(classes=[{classes!r}]).')
        classes = tuple(classes)
        if not classes or len(set(classes)) != len(classes):
            raise DatasetError(
                f'{type(self).__name__} needs distinct class names, got {list(classes)}: set '
                "metainfo=dict(classes=['first', 'second', ...]).")
        if set(classes) & set(self.ignored_labels):
            raise DatasetError(f'These labels are both classes and ignored_labels: '
                               f'{sorted(set(classes) & set(self.ignored_labels))}. Remove them '
                               'from one of the two.')
        if not self.subsets:
            raise DatasetError(f"{type(self).__name__} needs subsets=['...'], the subsets of "
                               f'{self.ann_file} to use.')
        if self.on_bad_video not in ('raise', 'skip'):
            raise DatasetError(
                f"on_bad_video must be 'raise' or 'skip', got {self.on_bad_video!r}.")
        self._metainfo['classes'] = classes

    def _without_empty(self, videos: Sequence[VideoAnnotation]) -> list[VideoAnnotation]:
        """Drop segments of zero length, which ActivityNet and MultiTHUMOS have; warn once."""
        kept = [video.without_empty() for video in videos]
        dropped = {video.video_id: len(video) - len(rest) for video, rest in zip(videos, kept)
                   if len(rest) < len(video)}
        if dropped:
            number = sum(dropped.values())
            print_log(f'{self.ann_file}: {count_of(number, "segment")} of zero length '
                      f'{agreeing(number, "is", "are")} dropped: {dropped}.', 'current',
                      logging.WARNING)
        return kept

    def _report_out_of_range(self, videos: Sequence[VideoAnnotation]) -> None:
        checked = [video.without(self.ignored_labels) for video in videos]
        counts = {video.video_id: num_out_of_range(video, self.tolerance_seconds)
                  for video in checked}
        bad = {video_id: count for video_id, count in counts.items() if count}
        if bad and self.out_of_range == 'clip':
            number = sum(bad.values())
            print_log(f'{self.ann_file}: {count_of(number, "segment")} '
                      f'{agreeing(number, "reaches", "reach")} beyond the video and '
                      f'{agreeing(number, "is", "are")} clipped, or dropped if wholly outside: '
                      f'{bad}.', 'current', logging.WARNING)

    def _report_bad(self, video_id: str, sentence: str) -> None:
        if video_id not in self.bad_videos:
            self.bad_videos[video_id] = sentence
            if self.bad_items_file:  # workers share nothing but files
                with open(self.bad_items_file, 'a', encoding='utf-8') as file:
                    file.write(json.dumps(dict(video_id=video_id, reason=sentence)) + '\n')
            print_log(f'Skipped: {sentence}', 'current', logging.WARNING)

    def _compare(self, video: VideoAnnotation, header: VideoHeader) -> None:
        """Warn once if a file differs from the annotated one."""
        if video.video_id in self._compared:
            return
        self._compared.add(video.video_id)
        self.source.note_rate(video.video_id, video, header, self.window_size)
        fps = video.fps or header.fps
        seconds = video.duration_seconds or header.duration_seconds
        other_rate = header.clock.is_even and abs(fps - header.fps) > FPS_TOLERANCE * fps
        if (other_rate
                or abs(seconds - header.duration_seconds) > DURATION_TOLERANCE_SECONDS):
            source = 'annotation' if video.subset else 'call (--fps)'
            print_log(f'{video.video_id}: the {source} says {fps:g} fps and {seconds:g} s, the '
                      f'file has {header.fps:g} fps and {header.duration_seconds:g} s. Frames '
                      f'are taken at the seconds of the {source}.', 'current', logging.WARNING)


def _as_tuple(names: Collection[str] | str) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


def _first_line(error: BaseException) -> str:
    return str(error).strip().split('\n')[0][:200] or type(error).__name__
