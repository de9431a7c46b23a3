#!/usr/bin/env python
"""Say where the mAP of a result file is lost: JSON and plots of the error analysis."""
from __future__ import annotations

import argparse
import json
from pathlib import Path

from sbp_tad.apis.command_line import announce, run_main
from sbp_tad.apis.named_files import check_output
from sbp_tad.evaluation.command_inputs import (
    add_file_arguments,
    check_overlaps,
    check_plausible,
    read_corrected_detections,
    read_subsets,
    warn_of_zero,
)
from sbp_tad.evaluation.error_analysis import ErrorAnalysis, ErrorAnalysisOptions, analyze_errors
from sbp_tad.evaluation.errors import EvaluationError
from sbp_tad.evaluation.evaluate import prepare_case
from sbp_tad.evaluation.instance_characteristics import BUCKET_BORDERS
from sbp_tad.evaluation.options import EvaluationOptions, parse_tiou_thresholds
from sbp_tad.provenance import add_provenance, file_fingerprint


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--ground-truth', required=True, type=Path, metavar='GT.json')
    parser.add_argument('--predictions', required=True, type=Path, metavar='PRED.json')
    parser.add_argument('--out', required=True, type=Path, metavar='DIR',
                        help='error_analysis.json and three plots are written here')
    parser.add_argument('--subset', required=True, help='subset to look at; several: a,b')
    parser.add_argument('--tiou', default='0.3:0.7:0.1', metavar='T',
                        help='average over these thresholds, start:end:step or a list a,b,c '
                             '(default: %(default)s)')
    parser.add_argument('--buckets', choices=list(BUCKET_BORDERS), default='thumos14',
                        help='whose borders of length, coverage and number of instances '
                             '(default: %(default)s)')
    parser.add_argument('--background-tiou', type=float, default=0.1, metavar='TIOU',
                        help='less overlap than this is background (default: %(default)s)')
    parser.add_argument('--exclude-video', nargs='+', default=(), metavar='ID',
                        help='videos to leave out, with their detections')
    parser.add_argument('--ignore-label', nargs='*', default=('Ambiguous', ), metavar='LABEL',
                        help='labels that are no classes (default: Ambiguous)')
    add_file_arguments(parser.add_argument_group('corrections of the detections'))
    return parser


def analyze_files(arguments: argparse.Namespace) -> ErrorAnalysis:
    """Read both files, check that they belong together and analyse the errors."""
    evaluation = EvaluationOptions(excluded_videos=arguments.exclude_video,
                                   ignored_labels=arguments.ignore_label,
                                   tiou_thresholds=parse_tiou_thresholds(arguments.tiou))
    options = ErrorAnalysisOptions(evaluation, arguments.buckets, arguments.background_tiou)
    subsets = arguments.subset.split(',')
    annotations = read_subsets(arguments.ground_truth, subsets)
    detections = read_corrected_detections(arguments, annotations, evaluation)
    for note in check_plausible(arguments, annotations, detections, evaluation):
        print(note)
    check_overlaps(arguments, prepare_case(annotations, detections, evaluation))
    return analyze_errors(detections, annotations, options, arguments.subset)


def summary(analysis: ErrorAnalysis) -> str:
    """Return the average mAP, the missed instances and the gain per kind of error, in percent."""
    gains = sorted(analysis.map_gain.items(), key=lambda item: -item[1])
    lines = [f'average mAP {100 * analysis.average_map:.2f}, '
             f'{100 * analysis.false_negative_rate:.1f} % of the instances missed',
             'gain of average mAP without a kind of false positive:']
    return '\n'.join(lines + [f'  {name:<16} +{100 * gain:.2f}' for name, gain in gains])


def main(argv: list[str] | None = None) -> int:
    """Analyse, write and print a summary."""
    arguments = build_parser().parse_args(argv)
    check_output('--out', arguments.out, is_folder=True)
    announce(f'Analysing {arguments.predictions}')
    analysis = analyze_files(arguments)
    # Imported after the options and files are read: --help answers at once.
    from sbp_tad.visualization.error_plots import write_error_plots
    paths = write_error_plots(arguments.out, analysis)
    paths.append(arguments.out / 'error_analysis.json')
    try:
        paths[-1].write_text(json.dumps(analysis.to_json(), indent=2) + '\n', encoding='utf8')
        add_provenance(arguments.out, 'analyze_errors', subset=arguments.subset,
                       ground_truth=file_fingerprint(arguments.ground_truth),
                       predictions=file_fingerprint(arguments.predictions))
    except OSError as error:
        raise EvaluationError(f'Cannot write {paths[-1]}: {error.strerror}.') from error
    print(summary(analysis))
    warn_of_zero(analysis.average_map)
    print('written: ' + ', '.join(map(str, paths)))
    return 0


if __name__ == '__main__':
    run_main(main)
