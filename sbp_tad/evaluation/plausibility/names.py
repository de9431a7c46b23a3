"""Signs of other names: detections in unknown videos or with unknown labels."""
from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import numpy as np

from sbp_tad.annotations import VideoAnnotation
from sbp_tad.evaluation.corrections import listed
from sbp_tad.evaluation.detection_columns import NO_LABEL, Detections
from sbp_tad.evaluation.name_matching import match_labels, match_videos
from sbp_tad.evaluation.options import EvaluationOptions
from sbp_tad.evaluation.plausibility.finding import ERROR, WARNING, Finding
from sbp_tad.wording import agreeing, count_of

FEW = 0.05  # share of detections above which a known cause is an error
MANY = 0.5

Subsets = Callable[[], Mapping[str, str]]  # () -> video id -> subset, of the whole annotation


def video_findings(annotations: Mapping[str, VideoAnnotation], detections: Detections,
                   options: EvaluationOptions, all_subsets: Subsets | None) -> list[Finding]:
    """Return findings on videos that the ground truth does not list."""
    known = {*annotations, *options.excluded_videos}
    per_video = dict(zip(detections.video_ids, np.bincount(
        detections.video_index, minlength=len(detections.video_ids)).tolist()))
    unknown = {name: count for name, count in per_video.items() if name not in known}
    share = share_of(sum(unknown.values()), len(detections))
    if not share:
        return []
    fault = (f'{share:.0%} of the detections lie in videos that the ground truth does not list '
             f'({listed(list(unknown))}; the ground truth has {listed(list(annotations))}).')
    if detections.video_ids == ('results', ):
        fault += (' "results" is read as a video, because its list names no video; expected '
                  '{"results": {video: [...]}}.')
    matches = {name: other for name, other in match_videos(unknown, annotations).items()
               if other not in per_video}
    matched = share_of(sum(unknown[name] for name in matches), len(detections))
    if matched > FEW or (matches and share == 1):
        name, other = next(iter(matches.items()))
        return [Finding(
            ERROR, f'{fault} {count_of(len(matches), "id")} '
            f'{agreeing(len(matches), "differs", "differ")} only in folder, extension, prefix or '
            f'case: {name!r} and {other!r}.', 'Add --map-video-ids to match them.',
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


def label_findings(annotations: Mapping[str, VideoAnnotation], detections: Detections,
                   options: EvaluationOptions) -> list[Finding]:
    """Return findings on labels that are no class of the ground truth, or absent."""
    classes = classes_of(annotations, options)
    per_label = dict(zip(detections.labels, np.bincount(
        detections.label_index, minlength=len(detections.labels)).tolist()))
    unlabelled = share_of(per_label.pop(NO_LABEL, 0), len(detections))
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
    share = share_of(sum(unknown.values()), total)
    fault = (f'{share:.0%} of the detections have labels without ground truth '
             f'({listed(list(unknown))}; the ground truth has {listed(sorted(classes))}).')
    numbers = share_of(sum(count for label, count in unknown.items() if label.isdigit()), total)
    if numbers >= MANY:
        return [Finding(
            ERROR, f'{fault} The labels are numbers.', 'Add --labels-by-index FILE with one class '
            'name per line, in the order of the numbers.', '--labels-by-index')]
    matches = match_labels(unknown, classes)
    if matches:
        label, other = next(iter(matches.items()))
        matched = share_of(sum(unknown[label] for label in matches), total)
        return [Finding(
            ERROR if matched > FEW else WARNING,
            f'{fault} {len(matches)} of them '
            f'{agreeing(len(matches), "differs", "differ")} only in case or punctuation: '
            f'{label!r} and {other!r}.', 'Add --map-labels to match them.', '--map-labels')]
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


def classes_of(annotations: Mapping[str, VideoAnnotation], options: EvaluationOptions
               ) -> set[str]:
    """Return the classes with ground truth."""
    return {label for name, video in annotations.items() if name not in options.excluded_videos
            for label in video.labels} - set(options.ignored_labels)


def share_of(count: float, total: int) -> float:
    """Return count / total as a Python number."""
    return float(count) / total
