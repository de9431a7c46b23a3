"""Signs that a score cannot be right, with likely cause and cure.

Detections in unknown videos, with unknown labels or in another unit of time
give a low score instead of an error. The checks compare detections with the
annotation before they are scored.
"""
from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import numpy as np

from sbp_tad.annotations import VideoAnnotation
from sbp_tad.evaluation.corrections import listed
from sbp_tad.evaluation.detection_columns import NO_LABEL, Detections
from sbp_tad.evaluation.errors import EvaluationError
from sbp_tad.evaluation.name_matching import match_labels, match_videos
from sbp_tad.evaluation.options import EvaluationOptions
from sbp_tad.evaluation.plausible_times import time_findings
from sbp_tad.evaluation.plausible_types import ERROR, NOTE, WARNING, Finding

FEW = 0.05  # share of detections above which a known cause is an error
MANY = 0.5

Subsets = Callable[[], Mapping[str, str]]  # () -> video id -> subset, of the whole annotation


def find_implausible(annotations: Mapping[str, VideoAnnotation], detections: Detections,
                     options: EvaluationOptions, all_subsets: Subsets | None = None,
                     with_labels: bool = True) -> list[Finding]:
    """Return the signs that detections and annotation do not belong together.

    Args:
        annotations: all videos of the scored subset.
        detections: detections to score.
        options: rules of the evaluation.
        all_subsets: returns the subset of every video of the annotation file;
            called only if detections lie in unknown videos.
        with_labels: False for proposals, whose labels do not matter.
    """
    if not len(detections):
        return [Finding(ERROR, f'There is no detection: {len(detections.video_ids)} videos are '
                        'listed, all without one. Check that the model was trained and its score '
                        'threshold is not too high.')]
    findings = [*_video_findings(annotations, detections, options, all_subsets),
                *(_label_findings(annotations, detections, options) if with_labels else ()),
                *time_findings(annotations, detections), *_value_findings(detections)]
    if not any(finding.level == ERROR for finding in findings):
        findings += _coverage_findings(annotations, detections, options, with_labels)
    return findings


def refuse_implausible(findings: Collection[Finding], offered: Collection[str]) -> None:
    """Raise the errors among the findings.

    Args:
        findings: result of :func:`find_implausible`.
        offered: options of the tool; a cure by another option is not named.

    Raises:
        EvaluationError: with all errors in one message.
    """
    errors = [finding.sentence(offered) for finding in findings if finding.level == ERROR]
    if errors:
        allow = ' To score them all the same, add --implausible warn.' \
            if '--implausible' in offered else ''
        raise EvaluationError(' '.join(errors) + allow)


def _video_findings(annotations: Mapping[str, VideoAnnotation], detections: Detections,
                    options: EvaluationOptions, all_subsets: Subsets | None) -> list[Finding]:
    known = {*annotations, *options.excluded_videos}
    per_video = dict(zip(detections.video_ids, np.bincount(
        detections.video_index, minlength=len(detections.video_ids)).tolist()))
    unknown = {name: count for name, count in per_video.items() if name not in known}
    share = _share(sum(unknown.values()), len(detections))
    if not share:
        return []
    fault = (f'{share:.0%} of the detections lie in videos that the ground truth does not list '
             f'({listed(list(unknown))}; the ground truth has {listed(list(annotations))}).')
    if detections.video_ids == ('results', ):
        fault += (' "results" is read as a video, because its list names no video; expected '
                  '{"results": {video: [...]}}.')
    matches = {name: other for name, other in match_videos(unknown, annotations).items()
               if other not in per_video}
    matched = _share(sum(unknown[name] for name in matches), len(detections))
    if matched > FEW or (matches and share == 1):
        name, other = next(iter(matches.items()))
        return [Finding(
            ERROR, f'{fault} The ids of {len(matches)} videos differ only in folder, extension, '
            f'prefix or case: {name!r} and {other!r}.', 'Add --map-video-ids to match them.',
            '--map-video-ids')]
    return _other_videos(fault, share, list(unknown), options, all_subsets)


def _other_videos(fault: str, share: float, names: list[str], options: EvaluationOptions,
                  all_subsets: Subsets | None) -> list[Finding]:
    """Return the finding for videos whose ids match none of the subset."""
    subsets = {} if all_subsets is None else all_subsets()
    theirs = sorted({subsets[name] for name in names if name in subsets})
    if theirs and 2 * sum(name in subsets for name in names) >= len(names):
        fault += f' Those videos are in the subset {listed(theirs)}.'
        if share == 1:
            return [Finding(ERROR, fault, f'Give --subset {theirs[0]} to score them.', '--subset')]
    if share < MANY:
        return []
    rule = options.outside_videos
    cure = 'To leave such detections out, add --outside-videos drop.' \
        if share < 1 and rule == 'false-positive' else ''
    return [Finding(ERROR if share == 1 else WARNING,
                    f'{fault} They count as: {rule}. Check that annotation and detections are of '
                    'the same data.', cure, '--outside-videos')]


def _label_findings(annotations: Mapping[str, VideoAnnotation], detections: Detections,
                    options: EvaluationOptions) -> list[Finding]:
    classes = classes_of(annotations, options)
    per_label = dict(zip(detections.labels, np.bincount(
        detections.label_index, minlength=len(detections.labels)).tolist()))
    unlabelled = _share(per_label.pop(NO_LABEL, 0), len(detections))
    findings = [] if not unlabelled else [Finding(
        ERROR if unlabelled > FEW else WARNING,
        f'{unlabelled:.0%} of the detections have no label, which mAP needs. Proposals without '
        'labels are scored by tools/evaluate.py --average-recall.')]
    unknown = {label: count for label, count in per_label.items()
               if count and label not in classes and label not in options.ignored_labels}
    if unknown and classes:
        findings += _unknown_labels(unknown, classes, len(detections))
    return findings


def _unknown_labels(unknown: Mapping[str, int], classes: Collection[str], total: int
                    ) -> list[Finding]:
    """Return the finding for labels (with their counts) that are not classes."""
    share = _share(sum(unknown.values()), total)
    fault = (f'{share:.0%} of the detections have labels without ground truth '
             f'({listed(list(unknown))}; the ground truth has {listed(sorted(classes))}).')
    numbers = _share(sum(count for label, count in unknown.items() if label.isdigit()), total)
    if numbers >= MANY:
        return [Finding(
            ERROR, f'{fault} The labels are numbers.', 'Add --labels-by-index FILE with one class '
            'name per line, in the order of the numbers.', '--labels-by-index')]
    matches = match_labels(unknown, classes)
    if matches:
        label, other = next(iter(matches.items()))
        matched = _share(sum(unknown[label] for label in matches), total)
        return [Finding(
            ERROR if matched > FEW else WARNING,
            f'{fault} {len(matches)} of them differ only in case or punctuation: {label!r} and '
            f'{other!r}.', 'Add --map-labels to match them.', '--map-labels')]
    if share < MANY:
        return []
    return [Finding(ERROR if share == 1 else WARNING,
                    f'{fault} Such detections are dropped. Check that annotation and detections '
                    'have the same classes.')]


def unused_names(annotations: Mapping[str, VideoAnnotation], detections: Detections,
                 excluded_videos: Collection[str], ignored_labels: Collection[str]
                 ) -> list[Finding]:
    """Return warnings of names that the user gave and neither file has."""
    labels = {*detections.labels, 'Ambiguous', *(label for video in annotations.values()
                                                 for label in video.labels)}
    videos = {*annotations, *detections.video_ids}
    absent = (('Excluded videos that neither file lists',
               [name for name in excluded_videos if name not in videos]),
              ('Ignored labels that neither file has',
               [label for label in ignored_labels if label not in labels]))
    return [Finding(WARNING, f'{words}: {listed(names)}. Check their spelling.')
            for words, names in absent if names]


def _value_findings(detections: Detections) -> list[Finding]:
    start, end = detections.segments_seconds.T
    empty = _share((start >= end).sum(), len(detections))
    findings = []
    if empty >= MANY:
        findings.append(Finding(
            ERROR if empty == 1 else WARNING,
            f'{empty:.0%} of the detections do not start before they end. A segment must be '
            '[start, end], not [start, length] or [centre, length].'))
    if len(detections) >= 10 and np.ptp(detections.scores) == 0:
        findings.append(Finding(
            WARNING, f'All {len(detections)} detections have the score {detections.scores[0]:g}, '
            'so that mAP depends on their order in the file.'))
    return findings


def _coverage_findings(annotations: Mapping[str, VideoAnnotation], detections: Detections,
                       options: EvaluationOptions, with_labels: bool) -> list[Finding]:
    """Return notes on classes and videos of the ground truth without a detection."""
    classes = classes_of(annotations, options)
    with_instances = [name for name, video in annotations.items()
                      if name not in options.excluded_videos and classes & set(video.labels)]
    found_labels = {detections.labels[i] for i in np.unique(detections.label_index)}
    found_videos = {detections.video_ids[i] for i in np.unique(detections.video_index)}
    findings = []
    for kind, names, found, effect in (
            ('classes', sorted(classes), found_labels, 'their AP is 0'),
            ('videos with instances', with_instances, found_videos,
             'their instances count as missed')):
        missing = [name for name in names if name not in found]
        if missing and (with_labels or kind != 'classes'):
            level = WARNING if len(missing) >= MANY * len(names) else NOTE
            findings.append(Finding(level, f'{len(missing)} of {len(names)} {kind} have no '
                                    f'detection, {effect}: {listed(missing)}.'))
    return findings


def classes_of(annotations: Mapping[str, VideoAnnotation], options: EvaluationOptions
               ) -> set[str]:
    """Return the classes with ground truth."""
    return {label for name, video in annotations.items() if name not in options.excluded_videos
            for label in video.labels} - set(options.ignored_labels)


def _share(count: float, total: int) -> float:
    return float(count) / total
