"""Options of the command line that correct detections, and checks of the input files."""
from __future__ import annotations

import argparse
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sbp_tad.annotations import VideoAnnotation, read_annotations, scan_annotations
from sbp_tad.evaluation.class_lists import numbered, numbers_of_annotation, read_class_list
from sbp_tad.evaluation.corrections import (
    convert_times,
    map_labels,
    map_video_ids,
    name_labels,
)
from sbp_tad.evaluation.detection_columns import Detections
from sbp_tad.evaluation.detections import is_own_file, read_detections
from sbp_tad.evaluation.errors import EvaluationError
from sbp_tad.evaluation.evaluate import EvaluationCase
from sbp_tad.evaluation.options import EvaluationOptions
from sbp_tad.evaluation.plausibility.check import find_implausible, refuse_implausible
from sbp_tad.evaluation.plausibility.finding import ERROR, NOTE, WARNING, Finding
from sbp_tad.evaluation.plausibility.names import classes_of, unused_names
from sbp_tad.evaluation.plausibility.overlaps import overlap_findings
from sbp_tad.evaluation.time_units import SECONDS, TIME_UNITS, TimeUnit

NAME_OPTIONS = ('--map-video-ids', '--map-labels', '--implausible')
FILE_OPTIONS = (*NAME_OPTIONS, '--labels-by-index', '--label-key', '--time-unit', '--subset')
EVALUATE_OPTIONS = (*FILE_OPTIONS, '--outside-videos')


def add_name_arguments(group: argparse._ArgumentGroup) -> None:
    """Add the options that match names, and the one that allows implausible input."""
    group.add_argument('--map-video-ids', action='store_const', const=True, default=None,
                       help='match video ids that differ from those of the annotation in folder, '
                            'extension, prefix (such as v_) or case')
    group.add_argument('--map-labels', action='store_const', const=True, default=None,
                       help='match labels that differ from the classes in case, spaces or '
                            'punctuation')
    group.add_argument('--implausible', choices=('error', 'warn'), default=None,
                       help='what to do if the score cannot be right, for example because all '
                            'detections lie in unknown videos (default: error)')


def add_file_arguments(group: argparse._ArgumentGroup) -> None:
    """Add all options that correct a file of detections."""
    add_name_arguments(group)
    group.add_argument('--label-key', default=None, metavar='KEY',
                       help='key of the label in each detection: verb, noun or action in '
                            'submissions to EPIC-Kitchens (default: label)')
    group.add_argument('--labels-by-index', nargs='?', const='', default=None, metavar='FILE',
                       help='labels are class numbers; FILE has one class name per line (numbers '
                            'from 0) or "NUMBER NAME". Without FILE: the classes of --dataset, '
                            'the label_id of the annotation, or its sorted class names')
    group.add_argument('--time-unit', choices=TIME_UNITS, default=None,
                       help='unit of the times of the detections; frames need the fps of the '
                            'annotation or --fps, fraction and percent (of the video) its '
                            'durations (default: seconds)')
    group.add_argument('--fps', type=float, default=None,
                       help='with --time-unit frames: frames, or feature steps, per second')
    group.add_argument('--frames-per-step', type=float, default=None, metavar='K',
                       help='with --time-unit frames: the times are feature steps of K frames')


def read_subsets(path: str | Path, subsets: Sequence[str]) -> dict[str, VideoAnnotation]:
    """Read the annotated videos of subsets; warn of a subset without a video.

    Raises:
        AnnotationError: see :func:`read_annotations`.
    """
    annotations = read_annotations(path, subsets)
    missing = set(subsets) - {video.subset for video in annotations.values()}
    if missing:
        print(f'Warning: {path}: no video is in subset {", ".join(sorted(missing))}, only in the '
              'others that were given. Check the spelling in --subset.', file=sys.stderr)
    return annotations


def read_corrected_detections(arguments: argparse.Namespace,
                              annotations: Mapping[str, VideoAnnotation],
                              options: EvaluationOptions, classes: Sequence[str] = ()
                              ) -> Detections:
    """Read the detections and apply the options that correct them.

    Args:
        arguments: with the options of :func:`add_file_arguments`.
        annotations: videos of the scored subset.
        options: rules of the evaluation, whose ignored labels are not classes.
        classes: classes of ``--dataset``, in the order of their numbers.

    Raises:
        EvaluationError: a correction is not possible.
    """
    unit = chosen_unit(arguments)
    detections = read_detections(arguments.predictions, arguments.label_key)
    if arguments.map_video_ids:
        detections = map_video_ids(detections, {*annotations, *options.excluded_videos})
    if arguments.labels_by_index is not None:
        detections = name_labels(detections, _class_numbers(arguments, options, classes))
    if arguments.map_labels:
        detections = map_labels(detections, {label for video in annotations.values()
                                             for label in video.labels})
    return detections if unit == SECONDS else convert_times(detections, annotations, unit)


def chosen_unit(arguments: argparse.Namespace) -> TimeUnit:
    """Return the unit of the detections by the options.

    Raises:
        EvaluationError: ``--fps`` or ``--frames-per-step`` is not positive, or
            without ``--time-unit frames``.
    """
    given = vars(arguments)
    name = given.get('time_unit') or 'seconds'
    for option in ('fps', 'frames_per_step'):
        value = given.get(option)
        if value is not None and not (name == 'frames' and 0 < value < float('inf')):
            option = '--' + option.replace('_', '-')
            raise EvaluationError(f'{option} is a positive number and goes with --time-unit '
                                  f'frames, got {option} {value:g} and --time-unit {name}.')
    return TimeUnit(name, given.get('fps'), given.get('frames_per_step') or 1.0)


def labels_match(annotations: Mapping[str, VideoAnnotation], detections: Detections,
                 options: EvaluationOptions) -> bool:
    """Return True if a label of the detections is a class of the ground truth."""
    return not classes_of(annotations, options).isdisjoint(detections.labels)


def check_plausible(arguments: argparse.Namespace, annotations: Mapping[str, VideoAnnotation],
                    detections: Detections, options: EvaluationOptions,
                    offered: Collection[str] = FILE_OPTIONS, with_labels: bool = True
                    ) -> list[str]:
    """Print warnings to stderr and return notes on the input.

    Args:
        arguments: with ``ground_truth`` and ``implausible``.
        annotations: videos of the scored subset.
        detections: detections to score, after corrections.
        options: rules of the evaluation.
        offered: options of the tool that a message may recommend.
        with_labels: False for proposals, whose labels do not matter.

    Raises:
        EvaluationError: the score cannot be right, without ``--implausible warn``.
    """
    def all_subsets() -> dict[str, str]:
        videos, _ = scan_annotations(arguments.ground_truth)
        return {name: video.subset for name, video in videos.items()}

    given = vars(arguments)
    unit = chosen_unit(arguments)
    found = find_implausible(annotations, detections, options, all_subsets, with_labels, unit)
    if unit == SECONDS and is_own_file(given.get('predictions', '')):
        found = [replace(one, level=WARNING) if one.option == '--time-unit' and one.level == ERROR
                 else one for one in found]  # the tools write seconds
    findings = [
        *found,
        *unused_names(annotations, detections,
                      given.get('excluded_videos', given.get('exclude_video', ())),
                      given.get('ignored_labels', given.get('ignore_label', ())))]
    return report_findings(arguments, findings, offered)


def check_overlaps(arguments: argparse.Namespace, case: EvaluationCase, with_labels: bool = True,
                   offered: Collection[str] = FILE_OPTIONS) -> None:
    """Check that the best detections overlap instances, and have their labels.

    Raises:
        EvaluationError: they overlap none, or have other labels with
            ``--labels-by-index``; without ``--implausible warn``.
    """
    by_index = vars(arguments).get('labels_by_index') is not None
    findings = overlap_findings(case, by_index, with_labels, chosen_unit(arguments))
    report_findings(arguments, findings, offered)


def warn_of_zero(average_map: float) -> None:
    """Print a warning if mAP is 0."""
    if average_map == 0:
        print('Warning: mAP is 0, because no detection reaches the tIoU thresholds with an '
              'instance of its video and label. Look at some detections beside the annotation '
              'with tools/report.py.', file=sys.stderr)


def report_findings(arguments: argparse.Namespace, findings: Collection[Finding],
                    offered: Collection[str]) -> list[str]:
    """Print warnings to stderr and return the notes.

    Raises:
        EvaluationError: an error is among the findings, without ``--implausible warn``.
    """
    if arguments.implausible != 'warn':
        refuse_implausible(findings, offered)
    for finding in findings:
        if finding.level in (ERROR, WARNING):
            print(f'Warning: {finding.sentence(offered)}', file=sys.stderr)
    return [finding.sentence(offered) for finding in findings if finding.level == NOTE]


def _class_numbers(arguments: argparse.Namespace, options: EvaluationOptions,
                   classes: Sequence[str]) -> dict[str, str]:
    """Return the name of each class number, and print where they come from."""
    if arguments.labels_by_index:
        return read_class_list(arguments.labels_by_index)
    numbers: dict[str, Any] = numbered(classes)
    source = 'of --dataset'
    if not numbers:
        numbers, source = numbers_of_annotation(arguments.ground_truth), 'by label_id'
    if not numbers:
        videos, _ = scan_annotations(arguments.ground_truth)
        names = {label for video in videos.values() for label in video.labels}
        numbers = numbered(sorted(names - set(options.ignored_labels)))
        source = 'of the annotation, sorted by name'
    named = ', '.join(f'{number} = {name}' for number, name in list(numbers.items())[:3])
    print(f'Warning: label numbers are read as the classes {source}: {named}, ... Give a file to '
          '--labels-by-index if this is not their order.', file=sys.stderr)
    return numbers
