#!/usr/bin/env python
"""Score a file of temporal detections: AP per class and mAP per tIoU threshold."""
from __future__ import annotations

import argparse
import json
from pathlib import Path

from sbp_tad.annotations import read_annotations
from sbp_tad.apis.command_line import run_main
from sbp_tad.evaluation.detections import read_detections
from sbp_tad.evaluation.evaluate import EvaluationResult, evaluate_detections
from sbp_tad.evaluation.options import (EMPTY_DETECTION_RULES, GROUND_TRUTH_RULES,
                                        OUTSIDE_VIDEO_RULES, PROTOCOLS, UNKNOWN_LABEL_RULES,
                                        EvaluationError, EvaluationOptions, parse_tiou_thresholds)
from sbp_tad.evaluation.report import print_result


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line; ``--help`` explains every option."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--ground-truth', required=True, type=Path, metavar='GT.json',
                        help='annotations in the ActivityNet form, .json or .json.gz')
    parser.add_argument('--predictions', required=True, type=Path, metavar='PRED.json',
                        help='{"results": {video: [{segment, label, score}]}} or {video: [...]}, '
                             'segments in seconds, .json or .json.gz')
    parser.add_argument('--subset', required=True, help='subset to score; several: a,b')
    parser.add_argument('--tiou', default='0.3:0.7:0.1', metavar='T',
                        help='tIoU thresholds, start:end:step or a list a,b,c '
                             '(default: %(default)s)')
    parser.add_argument('--protocol', choices=PROTOCOLS, default=PROTOCOLS[0])
    parser.add_argument('--json', type=Path, metavar='OUT', help='also write the result here')
    add_rule_arguments(parser.add_argument_group('rules where evaluators differ'))
    return parser.parse_args(argv)


def add_rule_arguments(group: argparse._ArgumentGroup) -> None:
    """One option for each rule of ``EvaluationOptions``, with the same defaults."""
    default = EvaluationOptions()
    group.add_argument('--ignore-label', nargs='*', metavar='LABEL', default=default.ignored_labels,
                       help='labels that are no classes (default: Ambiguous)')
    group.add_argument('--exclude-video', nargs='+', metavar='ID', default=(),
                       help='videos to leave out, with their detections')
    group.add_argument('--outside-videos', choices=OUTSIDE_VIDEO_RULES,
                       default=default.outside_videos,
                       help='detections in videos that the ground truth does not list (or that '
                            'hold no instance); default: %(default)s')
    group.add_argument('--unknown-labels', choices=UNKNOWN_LABEL_RULES,
                       default=default.unknown_labels,
                       help='detections with a label that the ground truth does not hold; '
                            'default: %(default)s')
    group.add_argument('--empty-detections', choices=EMPTY_DETECTION_RULES,
                       default=default.empty_detections,
                       help='detections that do not start before they end; default: %(default)s')
    group.add_argument('--duplicate-ground-truth', choices=GROUND_TRUTH_RULES,
                       default=default.duplicate_ground_truth,
                       help='equal video, label, start and end; default: %(default)s')
    group.add_argument('--zero-length-ground-truth', choices=GROUND_TRUTH_RULES,
                       default=default.zero_length_ground_truth, help='default: %(default)s')
    group.add_argument('--late-ground-truth', choices=GROUND_TRUTH_RULES,
                       default=default.late_ground_truth,
                       help='segments that begin after their video ends; default: %(default)s')


def evaluate_files(arguments: argparse.Namespace) -> EvaluationResult:
    """Read both files and score them."""
    options = EvaluationOptions(
        protocol=arguments.protocol,
        tiou_thresholds=parse_tiou_thresholds(arguments.tiou),
        ignored_labels=arguments.ignore_label,
        excluded_videos=arguments.exclude_video,
        outside_videos=arguments.outside_videos,
        unknown_labels=arguments.unknown_labels,
        empty_detections=arguments.empty_detections,
        duplicate_ground_truth=arguments.duplicate_ground_truth,
        zero_length_ground_truth=arguments.zero_length_ground_truth,
        late_ground_truth=arguments.late_ground_truth)
    annotations = read_annotations(arguments.ground_truth, arguments.subset.split(','))
    return evaluate_detections(annotations, read_detections(arguments.predictions), options,
                               arguments.subset)


def write_json(result: EvaluationResult, path: Path) -> None:
    """Write the result, fractions in full precision."""
    try:
        path.write_text(json.dumps(result.to_json(), indent=2) + '\n', encoding='utf8')
    except OSError as error:
        raise EvaluationError(f'Cannot write the result to {path}: {error.strerror}.') from error


def main(argv: list[str] | None = None) -> int:
    """Evaluate, print, and write where asked."""
    arguments = parse_arguments(argv)
    result = evaluate_files(arguments)
    print_result(result)
    if arguments.json:
        write_json(result, arguments.json)
    return 0


if __name__ == '__main__':
    run_main(main)
