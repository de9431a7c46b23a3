#!/usr/bin/env python
"""Write an HTML report of ground truth, predictions and videos, which opens from disk."""
from __future__ import annotations

import argparse
from pathlib import Path

from sbp_tad.annotations import read_annotations
from sbp_tad.apis.command_line import announce, run_main
from sbp_tad.apis.named_files import check_output
from sbp_tad.evaluation.command_inputs import (
    add_file_arguments,
    check_overlaps,
    check_plausible,
    read_corrected_detections,
)
from sbp_tad.evaluation.corrections import map_video_ids
from sbp_tad.evaluation.detections import read_detections
from sbp_tad.wording import count_of


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--predictions', required=True, type=Path, metavar='PRED.json',
                        help='detections as tools/evaluate.py reads them')
    parser.add_argument('--ground-truth', type=Path, metavar='GT.json',
                        help='annotations in ActivityNet format; without them nothing is matched')
    parser.add_argument('--subset', help='subsets, separated by commas (default: those of the '
                                         'predicted videos)')
    parser.add_argument('--videos', type=Path, metavar='DIR',
                        help='folder of the video files that the page links to')
    parser.add_argument('--filename-template', default='{video_id}.mp4', metavar='TEMPLATE',
                        help='names of the video files; other extensions, and v_ before the name, '
                             'are found too (default: %(default)s)')
    parser.add_argument('--copy-videos', action='store_true',
                        help='copy the videos into the report, so that it can be moved')
    parser.add_argument('--out', required=True, type=Path, metavar='DIR',
                        help='folder of the report; open its index.html')
    parser.add_argument('--tiou', default='0.3:0.7:0.1', metavar='T',
                        help='tIoU thresholds of the tables (default: %(default)s)')
    parser.add_argument('--ignore-label', nargs='*', metavar='LABEL', default=['Ambiguous'],
                        help='labels that are not scored (default: Ambiguous)')
    parser.add_argument('--exclude-video', nargs='+', metavar='ID', default=[],
                        help='videos to leave out')
    parser.add_argument('--title', help='headline (default: name of the file of predictions)')
    add_file_arguments(parser.add_argument_group('corrections of the detections'))
    return parser


def main(argv: list[str] | None = None) -> None:
    """Read the files, write the page, and print its path."""
    arguments = build_parser().parse_args(argv)
    check_output('--out', arguments.out, is_folder=True)
    announce(f'Reading {arguments.predictions}')
    # Imported after the options are read: --help answers at once.
    from sbp_tad.evaluation.evaluate import prepare_case
    from sbp_tad.evaluation.options import EvaluationOptions, parse_tiou_thresholds
    from sbp_tad.visualization.report_page.content import read_subsets, report_content
    from sbp_tad.visualization.report_page.page import write_page
    options = EvaluationOptions(tiou_thresholds=parse_tiou_thresholds(arguments.tiou),
                                ignored_labels=tuple(arguments.ignore_label),
                                excluded_videos=tuple(arguments.exclude_video))
    detections = read_detections(arguments.predictions, arguments.label_key)
    annotations, subset = None, ''
    if arguments.ground_truth:
        if arguments.map_video_ids:  # the ids say which subset is shown
            detections = map_video_ids(detections, read_annotations(arguments.ground_truth))
        annotations, subset = read_subsets(arguments.ground_truth, arguments.subset, detections)
        detections = read_corrected_detections(arguments, annotations, options)
        for note in check_plausible(arguments, annotations, detections, options):
            print(note)
        check_overlaps(arguments, prepare_case(annotations, detections, options))
    title = arguments.title or arguments.predictions.name.split('.')[0]
    content = report_content(detections, annotations, options, subset, title)
    names = [video['name'] for video in content['videos']]
    links = find_links(arguments, names) if arguments.videos else {}
    page = write_page(arguments.out, content, links)
    print(f'{page}: {count_of(len(names), "video")}, {len(links)} of them with a file; '
          'open it in a browser')


def find_links(arguments: argparse.Namespace, video_ids: list[str]) -> dict[str, str]:
    """Return the URLs of the video files below ``--videos``."""
    # Imported only for --videos: data sets take seconds to import.
    from sbp_tad.datasets.checks.file_check import find_files
    from sbp_tad.visualization.report_page.page import link_videos
    files = find_files(arguments.videos, video_ids, arguments.filename_template)
    return link_videos(arguments.out, arguments.videos, files, arguments.copy_videos)


if __name__ == '__main__':
    run_main(main)
