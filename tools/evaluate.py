#!/usr/bin/env python
"""Score a file of temporal detections: AP per class and mAP per tIoU threshold.

With --online, score a file of frame scores: AP and calibrated AP per class.
"""
from __future__ import annotations

import argparse
import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from sbp_tad.annotations import read_annotations
from sbp_tad.apis.command_line import announce, run_main
from sbp_tad.apis.named_files import check_output
from sbp_tad.evaluation.average_recall import average_recall
from sbp_tad.evaluation.bootstrap import bootstrap_intervals
from sbp_tad.evaluation.command_inputs import (
    EVALUATE_OPTIONS,
    add_file_arguments,
    check_overlaps,
    check_plausible,
    labels_match,
    read_corrected_detections,
    read_subsets,
    warn_of_zero,
)
from sbp_tad.evaluation.errors import EvaluationError
from sbp_tad.evaluation.evaluate import EvaluationCase, evaluate_case, prepare_case
from sbp_tad.evaluation.frame_evaluation import FrameResult, evaluate_frames
from sbp_tad.evaluation.frame_scores import read_frame_scores
from sbp_tad.evaluation.options import (
    EMPTY_DETECTION_RULES,
    GROUND_TRUTH_RULES,
    OUTSIDE_VIDEO_RULES,
    PROTOCOLS,
    UNKNOWN_LABEL_RULES,
    EvaluationOptions,
    dataset_rules,
    parse_tiou_thresholds,
)
from sbp_tad.evaluation.per_video import score_videos
from sbp_tad.evaluation.report import print_frame_result, print_recall, print_result
from sbp_tad.provenance import file_fingerprint, run_facts


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    # options that are not given are absent, so that the rules of --dataset hold
    parser = argparse.ArgumentParser(description=__doc__, argument_default=argparse.SUPPRESS)
    default = EvaluationOptions()
    parser.add_argument('--ground-truth', type=Path, metavar='GT.json',
                        help='annotations in the ActivityNet form, .json or .json.gz')
    parser.add_argument('--predictions', type=Path, metavar='PRED.json',
                        help='{"results": {video: [{segment, label, score}]}} or {video: [...]}, '
                             'segments in seconds, .json or .json.gz; also .csv with the columns '
                             'video-id, t-start, t-end, label, score, and .pkl of ActionFormer')
    parser.add_argument('--dataset', metavar='TYPE', default=None,
                        help='take subset, thresholds, ignored labels and excluded videos from '
                             'this dataset, such as ActivityNetDataset; other options override '
                             'them')
    parser.add_argument('--test-set', metavar='NAME', default=None,
                        help='protocol of --dataset THUMOS14Dataset, such as actionformer, '
                             'opentad, official-213 or a number of videos')
    parser.add_argument('--subset', default=None, help='subset to score; several: a,b')
    parser.add_argument('--tiou', dest='tiou_thresholds', metavar='T',
                        help='tIoU thresholds, start:end:step or a list a,b,c '
                             '(default: 0.3:0.7:0.1)')
    parser.add_argument('--protocol', choices=PROTOCOLS, help=f'default: {default.protocol}')
    parser.add_argument('--json', type=Path, metavar='OUT', default=None,
                        help='also write the result here')
    add_detail_arguments(parser.add_argument_group('details'))
    add_online_arguments(parser.add_argument_group('online action detection'))
    add_file_arguments(parser.add_argument_group('corrections of the detections'))
    add_rule_arguments(parser.add_argument_group('rules where evaluators differ'))
    return parser


def add_detail_arguments(group: argparse._ArgumentGroup) -> None:
    """Add the options of measures beside AP."""
    group.add_argument('--bootstrap', type=int, metavar='N',
                       help='95 %% confidence intervals of mAP from N draws of the videos; 1000 '
                            'take less than a second for 200,000 detections')
    group.add_argument('--seed', type=int, help='of the draws (default: 0)')
    group.add_argument('--average-recall', action='store_true',
                       help='recall over the average number of proposals, AR@AN and its area, at '
                            'tIoU 0.5:0.95:0.05, as in the ActivityNet proposal task; labels are '
                            'ignored and may be absent')
    group.add_argument('--per-video', action='store_true',
                       help='mAP of each video alone, the worst first')


def add_online_arguments(group: argparse._ArgumentGroup) -> None:
    """Add the options that score frames instead of segments."""
    group.add_argument('--online', type=Path, metavar='FILE.npz', default=None,
                       help='scores and targets (frames, background + classes + ambiguous), '
                            'video_names and video_lengths; of the other options only --json and '
                            '--dataset go with it, which names the classes of a file without '
                            'class_names (THUMOS14Dataset where it has 20)')
    group.add_argument('--smooth', action='store_true', default=False,
                       help='with --online: largest score of 5 frames around each, which looks '
                            'two frames ahead; published results may have it')


def add_rule_arguments(group: argparse._ArgumentGroup) -> None:
    """Add one option for each rule of ``EvaluationOptions``, with the same default."""
    group.add_argument('--ignore-label', dest='ignored_labels', nargs='*', metavar='LABEL',
                       help='labels that are no classes (default: Ambiguous)')
    group.add_argument('--exclude-video', dest='excluded_videos', nargs='+', metavar='ID',
                       help='videos to leave out, with their detections')
    for name, choices, what in (
            ('outside_videos', OUTSIDE_VIDEO_RULES, 'detections in videos that the ground truth '
             'does not list (or that hold no instance)'),
            ('unknown_labels', UNKNOWN_LABEL_RULES, 'detections with a label that the ground truth '
             'does not hold'),
            ('empty_detections', EMPTY_DETECTION_RULES, 'detections that do not start before they '
             'end'),
            ('duplicate_ground_truth', GROUND_TRUTH_RULES, 'equal video, label, start and end'),
            ('zero_length_ground_truth', GROUND_TRUTH_RULES, 'segments without a length'),
            ('late_ground_truth', GROUND_TRUTH_RULES, 'segments that begin after the end')):
        default = getattr(EvaluationOptions, name)
        group.add_argument('--' + name.replace('_', '-'), choices=choices,
                           help=f'{what}; default: {default}')


def evaluate_online(arguments: argparse.Namespace) -> FrameResult:
    """Read the file of frame scores and score it.

    Raises:
        EvaluationError: options of segments are given too, or the classes of
            ``--dataset`` are not those of the file.
    """
    others = {name for name, value in vars(arguments).items() if value is not None}
    others -= {'online', 'smooth', 'json', 'dataset'}
    if others:
        raise EvaluationError(
            'Only --smooth, --json and --dataset go with --online, got also '
            f'{", ".join(sorted(others))}: frames are scored without segments.')
    frames = read_frame_scores(arguments.online)
    names = frames.class_names
    if names is None or arguments.dataset is not None:
        num_classes = frames.scores.shape[1] - 2
        names = read_metainfo(arguments.dataset or 'THUMOS14Dataset', '').get('classes', ())
        if len(names) != num_classes and arguments.dataset is None:
            names = None  # classes are numbered then
        elif len(names) != num_classes:
            raise EvaluationError(
                f'{arguments.online} has {num_classes} classes between background and ambiguous, '
                f'{arguments.dataset} has {len(names)}. Name the dataset of this file.')
    return evaluate_frames(replace(frames, class_names=names), arguments.smooth)


def read_case(arguments: argparse.Namespace) -> tuple[EvaluationCase, list[str], bool]:
    """Read both files, check that they belong together and apply the rules.

    Returns:
        The case, notes on the input, and True if average recall is asked for
        and no detection has a label of the ground truth: there is no mAP then.

    Raises:
        EvaluationError: files or videos are not named, or the score cannot
            be right.
    """
    missing = {'ground_truth', 'predictions'} - set(vars(arguments))
    if missing or arguments.smooth:
        raise EvaluationError('Give --ground-truth and --predictions to score segments, or '
                              '--online to score frames; --smooth goes with --online.')
    declared = {} if arguments.dataset is None else \
        read_metainfo(arguments.dataset, arguments.ground_truth, arguments.test_set)
    if arguments.test_set and not declared.get('protocol'):
        raise EvaluationError(f'--test-set {arguments.test_set} needs a --dataset with protocols: '
                              'THUMOS14Dataset.')
    if not arguments.subset and not declared:
        raise EvaluationError('Give --subset, or --dataset, which declares one.')
    names = {field.name for field in fields(EvaluationOptions)}
    given = {name: value for name, value in vars(arguments).items() if name in names}
    if 'tiou_thresholds' in given:
        given['tiou_thresholds'] = parse_tiou_thresholds(given['tiou_thresholds'])
    options = EvaluationOptions(**{**(dataset_rules(declared) if declared else {}), **given})
    subsets = arguments.subset.split(',') if arguments.subset else declared['subsets']
    annotations = read_subsets(arguments.ground_truth, subsets) if arguments.subset else \
        read_annotations(arguments.ground_truth, subsets)
    detections = read_corrected_detections(arguments, annotations, options,
                                           declared.get('classes', ()))
    is_proposals = 'average_recall' in vars(arguments) and not labels_match(
        annotations, detections, options)
    if is_proposals and {'bootstrap', 'per_video'} & set(vars(arguments)):
        raise EvaluationError('No detection has a label of the ground truth, so there is no mAP: '
                              'leave --bootstrap and --per-video out.')
    notes = check_plausible(arguments, annotations, detections, options, EVALUATE_OPTIONS,
                            with_labels=not is_proposals)
    case = prepare_case(annotations, detections, options, ','.join(subsets))
    check_overlaps(arguments, case, with_labels=not is_proposals)
    return case, notes, is_proposals


def measure_details(case: EvaluationCase, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the measures beside AP that are asked for, by their names in the JSON.

    Raises:
        EvaluationError: a seed without a bootstrap.
    """
    asked = vars(arguments)
    if 'seed' in asked and 'bootstrap' not in asked:
        raise EvaluationError('--seed belongs to a bootstrap; give --bootstrap N too.')
    if asked.get('seed', 0) < 0:
        raise EvaluationError(f'--seed must not be negative, got {asked["seed"]}.')
    details: dict[str, Any] = {}
    if 'bootstrap' in asked:
        details['bootstrap'] = bootstrap_intervals(case, asked['bootstrap'], asked.get('seed', 0))
    if 'average_recall' in asked:
        details['average_recall'] = average_recall(case)
    if 'per_video' in asked:
        details['per_video'] = score_videos(case)
    return details


def read_metainfo(dataset: str, ground_truth: str | Path, test_set: str | None = None
                  ) -> dict[str, Any]:
    """Return the ``metainfo`` of a test dataset of this type with this annotation.

    Args:
        dataset: registered type.
        ground_truth: its annotation.
        test_set: name or number of its protocol, None for its default.

    Raises:
        EvaluationError: no such dataset is registered, or it has no such protocol.
    """
    announce(f'Loading PyTorch to read the rules of {dataset}')
    from sbp_tad.registry import DATASETS  # seconds to import, only needed here
    if DATASETS.get(dataset) is None:
        raise EvaluationError(f'There is no dataset {dataset!r}; expected the type of a config, '
                              'such as THUMOS14Dataset or ActivityNetDataset.')
    settings: dict[str, Any] = dict(type=dataset, ann_file=str(ground_truth), num_frames=1,
                                    stride_frames=1, test_mode=True, lazy_init=True)
    if test_set is not None and issubclass(DATASETS.get(dataset), DATASETS.get('THUMOS14Dataset')):
        settings['protocol'] = int(test_set) if test_set.isdecimal() else test_set
    return DATASETS.build(settings).metainfo


def write_json(content: dict[str, Any], path: Path) -> None:
    """Write the result, fractions in full precision."""
    try:
        path.write_text(json.dumps(content, indent=2) + '\n', encoding='utf8')
    except OSError as error:
        raise EvaluationError(f'Cannot write the result to {path}: {error.strerror}.') from error


def provenance(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the software and the fingerprints of the scored files."""
    given = {name: getattr(arguments, name, None)
             for name in ('ground_truth', 'predictions', 'online')}
    return dict(run_facts(), files={name: file_fingerprint(path)
                                    for name, path in given.items() if path is not None})


def score_segments(arguments: argparse.Namespace) -> dict[str, Any]:
    """Score detections, print the tables and return the content of the JSON file."""
    case, notes, is_proposals = read_case(arguments)
    details = measure_details(case, arguments)
    parts = {name: part.to_json() for name, part in details.items()}
    if is_proposals:
        print_recall(details['average_recall'], case, notes)
        return {'subset': case.subset, 'num_videos': len(case.truth),
                'num_ground_truth': len(case.comparison.ground_truth),
                'num_proposals': len(case.proposals), **parts}
    result = evaluate_case(case)
    print_result(result, **details, notes=notes)
    warn_of_zero(result.average_mean_average_precision)
    return {**result.to_json(), **parts}


def score_frames(arguments: argparse.Namespace) -> dict[str, Any]:
    """Score frames, print the table and return the content of the JSON file."""
    result = evaluate_online(arguments)
    print_frame_result(result)
    return result.to_json()


def main(argv: list[str] | None = None) -> int:
    """Evaluate, print, and write where asked."""
    arguments = build_parser().parse_args(argv)
    check_output('--json', arguments.json, makes_folder=False)
    content = (score_segments if arguments.online is None else score_frames)(arguments)
    if arguments.json:
        write_json({**content, 'provenance': provenance(arguments)}, arguments.json)
    return 0


if __name__ == '__main__':
    run_main(main)
