#!/usr/bin/env python
"""Sweep post-processing over dumped raw predictions, without running the model again.

The dump comes from `tools/test.py CONFIG CHECKPOINT --raw-dump FILE.npz` and holds the
settings of that test, which are scored too. Each result equals that of a test with its settings.
"""
from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from sbp_tad.annotations import VideoAnnotation
from sbp_tad.apis.command_line import announce, run_main
from sbp_tad.apis.named_files import check_output
from sbp_tad.evaluation.command_inputs import (
    NAME_OPTIONS,
    add_name_arguments,
    check_overlaps,
    check_plausible,
    read_subsets,
    warn_of_zero,
)
from sbp_tad.evaluation.corrections import map_labels, map_video_ids
from sbp_tad.evaluation.errors import EvaluationError
from sbp_tad.evaluation.evaluate import prepare_case
from sbp_tad.evaluation.options import EvaluationOptions, parse_tiou_thresholds
from sbp_tad.evaluation.plausibility.names import classes_of
from sbp_tad.evaluation.raw_predictions import RawPredictions, read_raw_predictions
from sbp_tad.evaluation.score_fusion import FUSION_METHODS, ScoreFusion
from sbp_tad.evaluation.tuning import TunedSetting, grid_settings, parse_grid, print_settings, sweep
from sbp_tad.provenance import add_provenance, file_fingerprint


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('dump', metavar='DUMP.npz')
    parser.add_argument('--ground-truth', required=True, metavar='GT.json',
                        help='annotations in the ActivityNet form, .json or .json.gz')
    parser.add_argument('--subset', help='subset to score; several: a,b (default: as tested)')
    parser.add_argument('--tiou', metavar='T', help='start:end:step or a,b,c (default: as tested)')
    parser.add_argument('--grid', nargs='+', default=[], metavar='OPTION=A,B',
                        help='values of post-processing options, all combinations are scored: '
                             'method=gaussian,linear sigma=0.3,0.5 voting_iou=None,0.75')
    parser.add_argument('--video-scores', metavar='FILE',
                        help='fuse with these scores of a video-level classifier, .json or .npz')
    parser.add_argument('--fusion', choices=FUSION_METHODS, default=None,
                        help='of the scores, with --video-scores (default: product)')
    parser.add_argument('--top-k', type=int, metavar='K',
                        help='give every segment the best K classes of its video')
    parser.add_argument('--processes', type=int, default=1, metavar='N')
    parser.add_argument('--json', type=Path, metavar='OUT', help='also write the results here')
    add_name_arguments(parser.add_argument_group('corrections of the dump'))
    return parser


def correct_names(arguments: argparse.Namespace, raw: RawPredictions,
                  annotations: Mapping[str, VideoAnnotation], options: EvaluationOptions
                  ) -> RawPredictions:
    """Match the names of the dump where asked, and check that it belongs to the annotation.

    Raises:
        EvaluationError: names that cannot be matched, or an implausible dump.
    """
    found = raw.detections()
    if arguments.map_video_ids:
        found = map_video_ids(found, {*annotations, *options.excluded_videos})
    if arguments.map_labels:
        found = map_labels(found, classes_of(annotations, options))
        if len(found.labels) < len(raw.class_names):
            raise EvaluationError('--map-labels: two classes of the dump are the same class of '
                                  'the annotation. Correct the annotation.')
    offered = (*NAME_OPTIONS, '--subset')
    for note in check_plausible(arguments, annotations, found, options, offered):
        print(note)
    check_overlaps(arguments, prepare_case(annotations, found, options), offered=offered)
    return replace(raw, windows=dict(zip(found.video_ids, raw.windows.values())),
                   class_names=found.labels)


def tune(arguments: argparse.Namespace) -> list[TunedSetting]:
    """Return every setting with its score, best average mAP first."""
    if arguments.processes < 1:
        raise EvaluationError(f'--processes must be at least 1, got {arguments.processes}.')
    if arguments.video_scores is None and (arguments.top_k is not None or arguments.fusion):
        raise EvaluationError('--top-k and --fusion go with --video-scores. Give --video-scores '
                              'FILE, or leave them out.')
    raw = read_raw_predictions(arguments.dump)
    options = raw.options if arguments.tiou is None else replace(
        raw.options, tiou_thresholds=parse_tiou_thresholds(arguments.tiou))
    subsets = arguments.subset.split(',') if arguments.subset else raw.subsets
    fusion = None if arguments.video_scores is None else ScoreFusion(
        arguments.video_scores, raw.class_names, arguments.fusion or 'product', arguments.top_k)
    annotations = read_subsets(arguments.ground_truth, subsets)
    raw = correct_names(arguments, raw, annotations, options)
    found = sweep(raw, annotations, grid_settings(raw.rules, parse_grid(arguments.grid)), options,
                  fusion, arguments.processes)
    return sorted(found, key=lambda one: -one.result.average_mean_average_precision)


def main(argv: list[str] | None = None) -> None:
    """Sweep, print, and write if asked."""
    arguments = build_parser().parse_args(argv)
    check_output('--json', arguments.json, makes_folder=False)
    announce(f'Sweeping over {arguments.dump}')
    found = tune(arguments)
    print_settings(found, list(dict.fromkeys(['method', *parse_grid(arguments.grid)])))
    warn_of_zero(found[0].result.average_mean_average_precision)
    if arguments.json:
        text = json.dumps([one.to_json() for one in found], indent=2) + '\n'
        try:
            arguments.json.write_text(text, encoding='utf8')
            add_provenance(arguments.json.parent, arguments.json.name,
                           dump=file_fingerprint(arguments.dump),
                           ground_truth=file_fingerprint(arguments.ground_truth))
        except OSError as error:
            raise EvaluationError(f'Cannot write the results to {arguments.json}: '
                                  f'{error.strerror}.') from error


if __name__ == '__main__':
    run_main(main)
