"""Checks of the lists of clips that mmaction's recognition data sets read."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from sbp_tad.errors import ConfigError

VIDEO_TYPES = ('VideoDataset', 'RepeatAugDataset')
FRAME_TYPE = 'RawframeDataset'
VIDEO_READERS = ('DecordInit', 'PyAVInit', 'OpenCVInit', 'PIMSInit')
FRAME_READER = 'RawFrameDecode'


@dataclass(frozen=True)
class ClipList:
    """A data set of a config that reads a list of clips.

    Args:
        key: of the data set in the config, such as ``train_dataloader.dataset``.
        dataset: its config.
        labelled: whether each clip needs a label.
        num_classes: of the classifier; None: unknown.
    """

    key: str
    dataset: dict
    labelled: bool
    num_classes: int | None

    @property
    def has_frames(self) -> bool:
        """Return whether the clips are folders of frames."""
        return type_name(self.dataset) == FRAME_TYPE

    @property
    def path(self) -> Path:
        """File of the list."""
        return Path(self.dataset.get('data_root') or '', self.dataset['ann_file'])

    @property
    def columns(self) -> str:
        """Columns of a line, for messages."""
        folder = 'folder offset frames' if self.dataset.get('with_offset') else 'folder frames'
        clip = folder if self.has_frames else 'video'
        return f'{clip} label'

    def fail(self, what: str) -> ConfigError:
        """Return the error that names the config key and the file."""
        return ConfigError(f'{self.key}.ann_file: {what}')


def check_clip_lists(cfg: Config, phase: str) -> None:
    """Check the lists that mmaction's ``VideoDataset`` and ``RawframeDataset`` will read.

    mmaction ends with a traceback, or counts clips without a label as wrong,
    where a list does not fit its data set.

    Args:
        cfg: whole config.
        phase: 'train' (and validate) or 'test'.

    Raises:
        ConfigError: the config key, the line, and what fits.
    """
    head = cfg.model.get('cls_head') or {}
    num_classes = head.get('num_classes') if isinstance(head, dict) else None
    for name in ('train', 'val') if phase == 'train' else ('test', ):
        key = f'{name}_dataloader.dataset'
        labelled = name != 'test' or 'AccMetric' in str(cfg.get('test_evaluator'))
        for path, dataset in _leaves((cfg.get(f'{name}_dataloader') or {}).get('dataset'), key):
            is_list = type_name(dataset) in (*VIDEO_TYPES, FRAME_TYPE)
            if is_list and '://' not in str(dataset.get('ann_file', '://')):
                check_list(ClipList(path, dataset, labelled, num_classes))
            elif type_name(dataset) == 'AudioDataset':
                check_sounds(path, dataset)


def check_list(clips: ClipList) -> None:
    """Check one list, and the first clip of it.

    Raises:
        ConfigError: see :func:`check_clip_lists`.
    """
    check_pipeline(clips)
    if not clips.path.is_file():
        raise clips.fail(f'there is no file {clips.path}; write one with a line "{clips.columns}" '
                         f'for each clip, or set --cfg-options {clips.key}.ann_file=FILE.')
    lines = clips.path.read_text(encoding='utf-8').splitlines()
    if not lines:
        raise clips.fail(f'{clips.path} is empty; expected lines "{clips.columns}".')
    for number, line in enumerate(lines, start=1):
        check_line(clips, number, line)
    if clips.has_frames:
        check_first_frame(clips, lines[0].split())


def check_pipeline(clips: ClipList) -> None:
    """Check that the pipeline reads what the data set lists."""
    names = [type_name(transform) for transform in clips.dataset.get('pipeline') or ()]
    readers = [name for name in names if name in VIDEO_READERS]
    if clips.has_frames and readers:
        raise ConfigError(f'{clips.key}.pipeline: RawframeDataset lists folders of frames, but '
                          f'{readers[0]} opens videos. Use {FRAME_READER} in place of '
                          f'{readers[0]} and its decoder, or VideoDataset with a list of videos.')
    if not clips.has_frames and FRAME_READER in names:
        raise ConfigError(f'{clips.key}.pipeline: {type_name(clips.dataset)} lists videos, but '
                          f'{FRAME_READER} reads folders of frames. Use DecordInit and '
                          'DecordDecode, or RawframeDataset with a list of folders.')


def check_line(clips: ClipList, number: int, line: str) -> None:
    """Check the columns and the labels of a line."""
    delimiter = clips.dataset.get('delimiter', ' ') if not clips.has_frames else None
    words = line.strip().split(delimiter)
    fixed = len(clips.columns.split()) - 1  # columns before the labels
    labels = words[fixed:]
    where = f'line {number} of {clips.path} is {line!r}'
    if words == [''] or len(words) < fixed:
        raise clips.fail(f'{where}; {type_name(clips.dataset)} reads lines "{clips.columns}".')
    if len(labels) > 1 and not clips.dataset.get('multi_class'):
        other = 'VideoDataset reads "video label"' if clips.has_frames else \
            'a list of frames ("folder frames label") needs RawframeDataset and RawFrameDecode, ' \
            'names with spaces another delimiter, several labels multi_class=True'
        raise clips.fail(f'{where}; {type_name(clips.dataset)} reads lines "{clips.columns}" '
                         f'({other}).')
    if not labels and clips.labelled:
        other = ' A list of videos needs VideoDataset and DecordInit, DecordDecode.' \
            if clips.has_frames else ''
        raise clips.fail(f'{where}: it has no label; expected "{clips.columns}".{other}')
    for word in words[1:]:
        check_number(clips, where, word)
    check_labels(clips, where, labels)


def check_number(clips: ClipList, where: str, word: str) -> None:
    """Check that a column behind the name is a number."""
    if not word.isdecimal() and not (word.startswith('-') and word[1:].isdecimal()):
        raise clips.fail(f'{where}: {word!r} is not a whole number; expected "{clips.columns}" '
                         'with the number of the class as label.')


def check_labels(clips: ClipList, where: str, labels: list[str]) -> None:
    """Check that the classifier has the classes."""
    if clips.num_classes is None or not clips.labelled:
        return
    for label in labels:
        if not 0 <= int(label) < clips.num_classes:
            raise clips.fail(f'{where}: label {label} is none of the {clips.num_classes} classes '
                             f'of model.cls_head.num_classes, 0 to {clips.num_classes - 1}.')


def check_first_frame(clips: ClipList, words: list[str]) -> None:
    """Check that the first frame of the first clip is where the config says."""
    dataset = clips.dataset
    prefix = (dataset.get('data_prefix') or {}).get('img') or ''
    folder = Path(dataset.get('data_root') or '', prefix, words[0])
    if '://' in str(prefix):
        return
    number = dataset.get('start_index', 1) + int(words[1] if dataset.get('with_offset') else 0)
    template = dataset.get('filename_tmpl', 'img_{:05}.jpg')
    is_flow = dataset.get('modality') == 'Flow'
    name = template.format('x', number) if is_flow else template.format(number)
    if not folder.is_dir():
        raise ConfigError(f'{clips.key}.data_prefix.img: there is no folder {folder}, the first '
                          f'of {clips.path}; folders are looked for below data_prefix.img.')
    if not (folder / name).is_file():
        there = sorted(path.name for path in folder.iterdir())[:2]
        raise ConfigError(f'{clips.key}.filename_tmpl: there is no file {name} in {folder}, the '
                          f'first of {clips.path}, which holds {there or "nothing"}; set '
                          'filename_tmpl (img_{:05}.jpg by default) and start_index (1).')


def check_sounds(key: str, dataset: dict) -> None:
    """Check that the files of a list of audio features are there.

    mmaction takes silence for a file that is absent: some videos have no sound.

    Raises:
        ConfigError: none of the files is there, so that training would learn from silence.
    """
    root, prefix = dataset.get('data_root') or '', (dataset.get('data_prefix') or {}).get('audio')
    path = Path(root, dataset['ann_file'])
    if not path.is_file():
        raise ConfigError(f'{key}.ann_file: there is no file {path}; write one with a line '
                          '"file frames label" for each clip.')
    names = [line.split()[0] for line in path.read_text(encoding='utf-8').splitlines() if line]
    files = [Path(root, prefix or '', name) for name in names]
    if files and not any(file.is_file() for file in files):
        raise ConfigError(f'{key}.data_prefix.audio: none of the {len(files)} files of {path} is '
                          f'there, such as {files[0]}; mmaction2 would take silence for them.')


def type_name(cfg: dict) -> str:
    """Return the name of a component without its scope."""
    kind = cfg.get('type')
    return getattr(kind, '__name__', str(kind)).rpartition('.')[2]


def _leaves(dataset: Any, key: str) -> Iterator[tuple[str, dict]]:
    """Keys and configs of the data sets below wrappers such as RepeatDataset."""
    if not isinstance(dataset, dict):
        return
    if 'datasets' in dataset:
        for number, inner in enumerate(dataset['datasets']):
            yield from _leaves(inner, f'{key}.datasets.{number}')
    elif 'dataset' in dataset:
        yield from _leaves(dataset['dataset'], f'{key}.dataset')
    else:
        yield key, dataset
