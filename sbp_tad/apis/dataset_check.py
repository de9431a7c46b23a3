"""Checks of annotations and video files, and advice on settings; needs no PyTorch."""
from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sbp_tad.annotations import VideoAnnotation, scan_annotations
from sbp_tad.datasets.checks.annotation_check import (
    Expectations,
    check_annotations,
    shared_subsets,
    unused_subsets,
)
from sbp_tad.datasets.checks.file_check import (
    VIDEO_TEMPLATE,
    Inspect,
    check_files,
    check_names,
    find_files,
    unlisted_files,
    unsafe_ids,
)
from sbp_tad.datasets.checks.findings import Finding
from sbp_tad.datasets.checks.window_advice import (
    BackboneShape,
    SegmentStatistics,
    WindowAdvice,
    advise,
    segment_lengths,
    summarize,
)
from sbp_tad.datasets.errors import VideoReadError
from sbp_tad.datasets.file_names import check_template
from sbp_tad.datasets.readers.video_header import probe_video, with_timing

if TYPE_CHECKING:
    from sbp_tad.planning.detector_memory import ExpectedMemory

Videos = Mapping[str, VideoAnnotation]


@dataclass(frozen=True)
class Declaration:
    """One data set to check.

    Args:
        ann_file: path of the annotation.
        expected: expectations that the annotation is checked against.
        files: returns the file of each video; None skips the check of files.
        inspect: reads a header, see :func:`check_files`.
        overlap: overlap of the test windows, in [0, 1).
        check_names: finds files that the dataset would not open.
    """

    ann_file: Path
    expected: Expectations
    files: Callable[[Iterable[str]], dict[str, Path]] | None = None
    inspect: Inspect = lambda path, _: probe_video(path)
    overlap: float = 0.5
    check_names: Callable[[Mapping[str, Path]], Iterable[Finding]] = lambda files: ()


@dataclass
class DatasetReport:
    """Findings of a check, with advice on windows, pyramid and memory.

    ``counts``: subset -> number of checked videos and segments. ``remarks``:
    reasons why a part of the report is missing.
    """

    counts: dict[str, tuple[int, int]]
    findings: list[Finding]
    facts: SegmentStatistics | None = None
    advice: WindowAdvice | None = None
    memory: ExpectedMemory | None = None
    current_share: float | None = None
    remarks: list[str] = field(default_factory=list)


def declare_json(path: str | Path, videos: str | Path | None = None,
                 classes: Sequence[str] | None = None, subsets: Sequence[str] | None = None,
                 ignored_labels: Sequence[str] = ('Ambiguous',),
                 template: str = VIDEO_TEMPLATE) -> list[Declaration]:
    """Declare the data set of an annotation file; options that are None are taken from it.

    Raises:
        DatasetError: the template is not valid.
    """
    check_template(template)
    expected = Expectations(tuple(classes) if classes else None,
                            tuple(subsets) if subsets else None, tuple(ignored_labels))
    if videos is None:
        return [Declaration(Path(path), expected)]
    folder = Path(videos)
    return [Declaration(
        Path(path), expected, lambda chosen: find_files(folder, chosen, template),
        check_names=lambda files: check_names(files, folder, template))]


def check_datasets(declarations: Sequence[Declaration]
                   ) -> tuple[DatasetReport, list[VideoAnnotation]]:
    """Return the report on all data sets, and the videos with their timing for the advice.

    Raises:
        AnnotationError: an annotation file cannot be read.
    """
    findings: list[Finding] = []
    learned: dict[str, VideoAnnotation] = {}
    known_files: list[Path] = []
    report = DatasetReport({}, findings)
    for path in dict.fromkeys(declaration.ann_file for declaration in declarations):
        own = [declaration for declaration in declarations if declaration.ann_file == path]
        videos, faults = scan_annotations(path)
        findings += [Finding('malformed-entry', video_id, sentence)
                     for video_id, sentence in faults]
        findings += _check_together(videos, own)
        for declaration in own:
            findings += check_annotations(videos, declaration.expected)
            chosen = declaration.expected.select(videos)
            if declaration.files is not None:
                unsafe = unsafe_ids(videos)
                findings += [Finding('unsafe-id', video_id[:100], sentence)
                             for video_id, sentence in unsafe.items()]
                chosen = {name: video for name, video in chosen.items() if name not in unsafe}
                files = declaration.files([name for name in videos if name not in unsafe])
                findings += declaration.check_names({name: files[name] for name in chosen})
                known_files += files.values()
                findings += check_files(chosen, files, declaration.expected, declaration.inspect)
                chosen = _fill_timing(chosen, files, declaration.inspect)
            counted = [video.without(declaration.expected.ignored_labels)
                       for video in chosen.values()]
            report.counts.update(_count(counted))
            if declaration.expected.training or len(declarations) == 1:
                learned.update({video.video_id: video for video in counted})
    findings += unlisted_files(known_files)
    findings[:] = dict.fromkeys(findings)
    return report, list(learned.values())


def _check_together(videos: Videos, declarations: Sequence[Declaration]) -> list[Finding]:
    """Return the findings that concern several data sets of one annotation."""
    subsets = {training: [subset for declaration in declarations
                          if declaration.expected.training is training
                          for subset in declaration.expected.subsets or ()]
               for training in (True, False)}
    findings = shared_subsets(subsets[True], subsets[False])
    if all(declaration.expected.subsets for declaration in declarations):
        findings += unused_subsets(videos, subsets[True] + subsets[False])
    return findings


def _fill_timing(videos: Videos, files: Mapping[str, Path], inspect: Inspect
                 ) -> dict[str, VideoAnnotation]:
    """Return the videos, with missing fps and duration read from their files."""
    timed = dict(videos)
    for video_id, video in videos.items():
        try:
            header = None if video.fps and video.duration_seconds else \
                inspect(files[video_id], video)
        except (VideoReadError, OSError, ValueError):
            continue  # already among the findings
        timed[video_id] = video if header is None else with_timing(video, header)
    return timed


def _count(videos: Sequence[VideoAnnotation]) -> dict[str, tuple[int, int]]:
    numbers = Counter(video.subset for video in videos)
    segments = Counter()
    for video in videos:
        segments[video.subset] += len(video)
    return {subset: (number, segments[subset]) for subset, number in numbers.items()}


def add_advice(report: DatasetReport, videos: Sequence[VideoAnnotation],
               shape: BackboneShape, coverage: float, overlap: float) -> None:
    """Fill in ``facts`` and ``advice``, or the remark that no segment has a length.

    Raises:
        DatasetError: ``coverage`` lies outside (0, 1].
    """
    if not len(segment_lengths(videos)):
        report.remarks.append('no advice: no segment of the training videos has a length above 0.')
        return
    report.facts = summarize(videos, coverage)
    report.advice = advise(videos, shape, coverage, overlap)


def check_annotation(declarations: Sequence[Declaration], coverage: float) -> DatasetReport:
    """Check data sets and advise settings for a backbone with one step per frame.

    Raises:
        AnnotationError: an annotation file cannot be read.
        DatasetError: ``coverage`` lies outside (0, 1].
    """
    report, videos = check_datasets(declarations)
    report.remarks.append('memory depends on the model: give a config with --model.')
    add_advice(report, videos, BackboneShape(), coverage, declarations[-1].overlap or 0.5)
    return report
