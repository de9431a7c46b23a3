"""Find the inconsistencies of an annotation: pure functions, one per kind of fault."""
from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from sbp_tad.annotations import VideoAnnotation, matching_subsets
from sbp_tad.datasets.checks.findings import Finding
from sbp_tad.wording import agreeing, count_of

PLAUSIBLE_FPS = (1.0, 240.0)
TIMING_TOLERANCE_SECONDS = 1.0
MIN_CLASS_SEGMENTS = 10  # in training
MAX_CLASS_RATIO = 20.0  # THUMOS'14 has 17, and its classes train well together


@dataclass(frozen=True)
class Expectations:
    """Expectations of an annotation, named like the options of the dataset.

    Args:
        classes: class names; ``None`` uses the labels that occur.
        subsets: subsets to check; ``None`` checks all.
        ignored_labels: labels that are not classes.
        excluded_videos: videos that are not checked.
        out_of_range: ``'error'`` or ``'clip'`` for segments outside the video.
        tolerance_seconds: seconds by which a segment may leave the video.
        training: True for training subsets, whose classes need enough segments.
    """

    classes: tuple[str, ...] | None = None
    subsets: tuple[str, ...] | None = None
    ignored_labels: tuple[str, ...] = ('Ambiguous',)
    excluded_videos: tuple[str, ...] = ()
    out_of_range: str = 'error'
    tolerance_seconds: float = 0.1
    training: bool = True

    def class_names(self, videos: Iterable[VideoAnnotation]) -> tuple[str, ...]:
        """Return the classes, or the sorted labels that occur if none are given."""
        if self.classes is not None:
            return self.classes
        labels = {label for video in videos for label in video.labels}
        return tuple(sorted(labels - set(self.ignored_labels)))

    def select(self, videos: Mapping[str, VideoAnnotation]) -> dict[str, VideoAnnotation]:
        """Return the videos of the subsets without the excluded ones."""
        names = {video.subset for video in videos.values()}
        chosen = names if self.subsets is None else matching_subsets(self.subsets, names)
        return {key: video for key, video in videos.items()
                if video.subset in chosen and key not in self.excluded_videos}


def check_annotations(videos: Mapping[str, VideoAnnotation], expected: Expectations
                      ) -> list[Finding]:
    """Find the faults that the annotation shows without the video files.

    Args:
        videos: all videos of the file, also those of other subsets.
        expected: expectations of the annotation.
    """
    chosen = expected.select(videos)
    classes = expected.class_names(chosen.values())
    findings = [*_check_subsets(videos, expected), *_check_spelling(chosen.values()),
                *_check_balance(chosen.values(), classes, expected)]
    for video in chosen.values():
        counted = video.without(expected.ignored_labels)
        findings += [*_check_emptiness(video, counted), *_check_timing(video),
                     *_check_labels(counted, classes), *_check_ends(counted),
                     *check_range(counted, expected), *_check_overlaps(counted)]
    return findings


def shared_subsets(training: Collection[str], testing: Collection[str]) -> list[Finding]:
    """Find the subsets that a config both trains and tests on."""
    return [Finding('shared-subset', subset, f'{subset!r} is trained on and tested on.')
            for subset in sorted(set(training) & set(testing))]


def _check_subsets(videos: Mapping[str, VideoAnnotation], expected: Expectations
                   ) -> Iterator[Finding]:
    counts = Counter(video.subset for video in videos.values())
    found = matching_subsets(expected.subsets or (), counts).values()
    absent = [subset for subset in expected.subsets or () if subset not in found]
    # a dataset may name alternatives, such as ('training', 'train')
    kind = 'empty-subset' if absent == list(expected.subsets or ()) else 'absent-subset'
    for subset in absent:
        yield Finding(kind, subset, f'no video is in subset {subset!r}; the file holds '
                      f'{sorted(counts)}.')
    yield from _spellings('subset-spelling', counts)
    for video_id in expected.excluded_videos:
        if video_id in videos:
            yield Finding('excluded-video', video_id, 'left out by excluded_videos.')


def unused_subsets(videos: Mapping[str, VideoAnnotation], used: Collection[str]
                   ) -> list[Finding]:
    """Find the subsets of the file that no dataset of a config uses."""
    known = matching_subsets(sorted(used), {video.subset for video in videos.values()})
    counts = Counter(video.subset for video in videos.values() if video.subset not in known)
    return [Finding('unused-subset', subset, f'{count_of(count, "video")} of subset {subset!r} '
                    f'{agreeing(count, "is", "are")} not used.')
            for subset, count in counts.items()]


def _check_spelling(videos: Iterable[VideoAnnotation]) -> Iterator[Finding]:
    yield from _spellings('label-spelling',
                          Counter(label for video in videos for label in video.labels))


def _spellings(kind: str, counts: Mapping[str, int]) -> Iterator[Finding]:
    """Find names that differ only in case, spaces, hyphens or underscores."""
    groups = defaultdict(list)
    for name in counts:
        groups[''.join(filter(str.isalnum, name.casefold())) or name].append(name)
    for names in groups.values():
        if len(names) > 1:
            listed = ', '.join(f'{name!r} ({count_of(counts[name], "time")})' for name in names)
            yield Finding(kind, names[0], f'written in several ways: {listed}.')


def _check_balance(videos: Iterable[VideoAnnotation], classes: tuple[str, ...],
                   expected: Expectations) -> Iterator[Finding]:
    counts = Counter(dict.fromkeys(classes, 0))
    counts.update(label for video in videos for label in video.labels if label in counts)
    where = ' and '.join(expected.subsets or ('the file',))
    for name, count in counts.items():
        if not count:
            yield Finding('class-without-segments', name, f'{name!r} has no segment in {where}.')
        elif expected.training and count < MIN_CLASS_SEGMENTS:
            yield Finding('rare-class', name, f'{name!r} has {count_of(count, "segment")} in '
                          f'{where}; fewer than {MIN_CLASS_SEGMENTS} are hard to learn from.')
    present = [(count, name) for name, count in counts.items() if count]
    if expected.training and present:
        (fewest, rare), (most, common) = min(present), max(present)
        if most > MAX_CLASS_RATIO * fewest:
            yield Finding('class-imbalance', common, f'{common!r} has {count_of(most, "segment")}, '
                          f'{rare!r} {fewest}: {most / fewest:.0f} times as many, more than '
                          f'{MAX_CLASS_RATIO:.0f}.')


def _check_emptiness(video: VideoAnnotation, counted: VideoAnnotation) -> Iterator[Finding]:
    if not len(video):
        yield Finding('video-without-segments', video.video_id, 'has no segment.')
    elif not len(counted):
        yield Finding('only-ignored-labels', video.video_id,
                      f'holds only {", ".join(sorted(set(video.labels)))}.')


def _check_timing(video: VideoAnnotation) -> Iterator[Finding]:
    if video.duration_seconds is None or video.fps is None:
        absent = [name for name, value in (('duration', video.duration_seconds),
                                           ('fps', video.fps)) if value is None]
        yield Finding('unknown-timing', video.video_id, f'{" and ".join(absent)} not given.')
    if video.fps is not None and not PLAUSIBLE_FPS[0] <= video.fps <= PLAUSIBLE_FPS[1]:
        yield Finding('implausible-fps', video.video_id, f'{video.fps:g} fps; videos have '
                      f'{PLAUSIBLE_FPS[0]:g} to {PLAUSIBLE_FPS[1]:g}.')
    if not (video.duration_seconds is None or video.fps is None or video.num_frames is None):
        seconds = video.num_frames / video.fps
        if abs(seconds - video.duration_seconds) > TIMING_TOLERANCE_SECONDS:
            yield Finding('timing-mismatch', video.video_id,
                          f'{count_of(video.num_frames, "frame")} at {video.fps:g} fps last '
                          f'{seconds:g} s, but the duration is {video.duration_seconds:g} s.')


def _check_labels(video: VideoAnnotation, classes: tuple[str, ...]) -> Iterator[Finding]:
    for label, count in Counter(video.labels).items():
        if label not in classes:
            yield Finding('unknown-label', video.video_id,
                          f'{count_of(count, "segment")} {agreeing(count, "has", "have")} '
                          f'the label {label!r}, which is not a class.')


def _check_ends(video: VideoAnnotation) -> Iterator[Finding]:
    for index, (start, end) in enumerate(video.segments_seconds):
        if end <= start:
            kind = 'reversed-segment' if end < start else 'zero-length-segment'
            yield Finding(kind, video.video_id, f'{describe(video, index)} must start before it '
                          'ends.')


def check_range(video: VideoAnnotation, expected: Expectations) -> Iterator[Finding]:
    """Find the segments that leave the video; ``video`` has no ignored labels."""
    duration, tolerance = video.duration_seconds, expected.tolerance_seconds
    end = np.inf if duration is None else duration
    outside = ((video.segments_seconds[:, 0] < -tolerance)
               | (video.segments_seconds[:, 1] > end + tolerance))
    kind = 'clipped-segment' if expected.out_of_range == 'clip' else 'outside-segment'
    length = 'an unknown time' if duration is None else f'{duration:g} s'
    for index in np.flatnonzero(outside).tolist():
        yield Finding(kind, video.video_id,
                      f'{describe(video, index)} leaves the video, which lasts {length}.')
    if 2 * outside.sum() > len(video) > 1:
        yield Finding('foreign-annotation', video.video_id,
                      f'{outside.sum()} of {len(video)} segments '
                      f'{agreeing(outside.sum(), "leaves", "leave")} the video.')


def _check_overlaps(video: VideoAnnotation) -> Iterator[Finding]:
    others: Counter[tuple[str, ...]] = Counter()
    for first, second in overlapping_pairs(video.segments_seconds):
        labels = video.labels[first], video.labels[second]
        pair = f'{describe(video, first)} and {describe(video, second)}'
        same_ends = np.array_equal(*video.segments_seconds[[first, second]])
        if labels[0] != labels[1]:
            others[tuple(sorted(labels))] += 1
        elif same_ends:
            yield Finding('duplicate-segment', video.video_id, f'{pair} are the same.')
        else:
            yield Finding('overlap-same-label', video.video_id, f'{pair} overlap.')
    for (one, other), count in others.items():
        yield Finding('overlap-other-label', video.video_id,
                      f'{one!r} and {other!r} overlap ({count_of(count, "time")}).')


def overlapping_pairs(segments: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield pairs of rows of (N, 2) that overlap, or that have the same ends."""
    for first, segment in enumerate(segments):
        later = segments[first + 1:]
        start = np.maximum(segment[0], later[:, 0])
        end = np.minimum(segment[1], later[:, 1])
        met = (start < end) | (later == segment).all(axis=1)
        yield from ((first, first + 1 + int(offset)) for offset in np.flatnonzero(met))


def describe(video: VideoAnnotation, index: int) -> str:
    """Describe a segment by the values of the file, so that one can search for them."""
    start, end = video.segments_seconds[index]
    return f'[{start:g}, {end:g}] s {video.labels[index]!r}'
