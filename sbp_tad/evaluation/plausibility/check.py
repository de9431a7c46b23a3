"""Signs that a score cannot be right, with likely cause and cure.

Detections in unknown videos, with unknown labels or in another unit of time
give a low score instead of an error. The checks compare detections with the
annotation before they are scored.
"""
from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from sbp_tad.annotations import VideoAnnotation
from sbp_tad.evaluation.corrections import listed
from sbp_tad.evaluation.detection_columns import Detections
from sbp_tad.evaluation.errors import EvaluationError
from sbp_tad.evaluation.options import EvaluationOptions
from sbp_tad.evaluation.plausibility.finding import ERROR, NOTE, WARNING, Finding
from sbp_tad.evaluation.plausibility.names import (
    MANY,
    Subsets,
    classes_of,
    label_findings,
    share_of,
    video_findings,
)
from sbp_tad.evaluation.plausibility.times import time_findings
from sbp_tad.evaluation.time_units import SECONDS, TimeUnit
from sbp_tad.wording import agreeing, count_of


def find_implausible(annotations: Mapping[str, VideoAnnotation], detections: Detections,
                     options: EvaluationOptions, all_subsets: Subsets | None = None,
                     with_labels: bool = True, unit: TimeUnit = SECONDS) -> list[Finding]:
    """Return the signs that detections and annotation do not belong together.

    Args:
        annotations: all videos of the scored subset.
        detections: detections to score.
        options: rules of the evaluation.
        all_subsets: returns the subset of every video of the annotation file;
            called only if detections lie in unknown videos.
        with_labels: False for proposals, whose labels do not matter.
        unit: unit that the detections were converted from.
    """
    if not len(detections):
        return [Finding(ERROR, f'There is no detection; the file lists '
                        f'{count_of(len(detections.video_ids), "video")}. Check that the model '
                        'was trained and its score threshold is not too high.')]
    findings = [*video_findings(annotations, detections, options, all_subsets),
                *(label_findings(annotations, detections, options) if with_labels else ()),
                *time_findings(annotations, detections, unit), *_value_findings(detections)]
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


def _value_findings(detections: Detections) -> list[Finding]:
    start, end = detections.segments_seconds.T
    empty = share_of((start >= end).sum(), len(detections))
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
            ('classes', sorted(classes), found_labels, 'which gives AP 0'),
            ('videos with instances', with_instances, found_videos,
             'so that the instances count as missed')):
        missing = [name for name in names if name not in found]
        if missing and (with_labels or kind != 'classes'):
            level = WARNING if len(missing) >= MANY * len(names) else NOTE
            findings.append(Finding(level, f'{len(missing)} of {len(names)} {kind} '
                                    f'{agreeing(len(missing), "has", "have")} no detection, '
                                    f'{effect}: {listed(missing)}.'))
    return findings
