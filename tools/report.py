#!/usr/bin/env python
"""Write a page that shows ground truth and predictions beside the videos; it opens from disk."""
from __future__ import annotations

import argparse
from pathlib import Path

from sbp_tad.annotations import VideoAnnotation, read_annotations
from sbp_tad.apis.command_line import run_main
from sbp_tad.evaluation.detections import Detections, read_detections
from sbp_tad.evaluation.errors import EvaluationError
from sbp_tad.evaluation.options import EvaluationOptions, parse_tiou_thresholds
from sbp_tad.visualization.report_page import link_videos, report_content, write_page


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line; ``--help`` explains every option."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--predictions', required=True, type=Path, metavar='PRED.json',
                        help='detections as tools/evaluate.py reads them')
    parser.add_argument('--ground-truth', type=Path, metavar='GT.json',
                        help='annotations in the ActivityNet form; without them nothing is marked')
    parser.add_argument('--subset', help='subset to show; several: a,b (default: those that hold '
                                         'the videos of the predictions)')
    parser.add_argument('--videos', type=Path, metavar='DIR',
                        help='folder of the video files, named by the video; the page links them')
    parser.add_argument('--copy-videos', action='store_true',
                        help='copy them into the report, so that it may be moved')
    parser.add_argument('--out', required=True, type=Path, metavar='DIR',
                        help='folder to write; open its index.html')
    parser.add_argument('--tiou', default='0.3:0.7:0.1', metavar='T',
                        help='tIoU thresholds of the tables (default: %(default)s)')
    parser.add_argument('--ignore-label', nargs='*', metavar='LABEL', default=['Ambiguous'],
                        help='labels that are no classes (default: Ambiguous)')
    parser.add_argument('--exclude-video', nargs='+', metavar='ID', default=[],
                        help='videos to leave out, with their detections')
    parser.add_argument('--title', help='headline (default: name of the predictions)')
    return parser.parse_args(argv)


def read_subsets(path: Path, subset: str | None, detections: Detections
                 ) -> tuple[dict[str, VideoAnnotation], str]:
    """The annotated videos of the subsets that are named, or else that are predicted on.

    Raises:
        EvaluationError: no subset is named, and no predicted video is annotated.
    """
    if subset:
        return read_annotations(path, subset.split(',')), subset
    annotations = read_annotations(path)
    subsets = {annotations[name].subset for name in detections.video_ids if name in annotations}
    if not subsets:
        raise EvaluationError(
            f'{path} annotates none of the {len(detections.video_ids)} videos of the predictions. '
            'Check that both name videos alike, or give --subset.')
    return ({name: video for name, video in annotations.items() if video.subset in subsets},
            ','.join(sorted(subsets)))


def find_links(arguments: argparse.Namespace, video_ids: list[str]) -> dict[str, str]:
    """Addresses of the video files below ``--videos``."""
    from sbp_tad.datasets.checks.file_check import find_files  # seconds to import, only needed here
    return link_videos(arguments.out, arguments.videos, find_files(arguments.videos, video_ids),
                       arguments.copy_videos)


def main(argv: list[str] | None = None) -> int:
    """Read, write the page, and say where it is."""
    arguments = parse_arguments(argv)
    detections = read_detections(arguments.predictions)
    annotations, subset = None, ''
    if arguments.ground_truth:
        annotations, subset = read_subsets(arguments.ground_truth, arguments.subset, detections)
    options = EvaluationOptions(tiou_thresholds=parse_tiou_thresholds(arguments.tiou),
                                ignored_labels=tuple(arguments.ignore_label),
                                excluded_videos=tuple(arguments.exclude_video))
    title = arguments.title or arguments.predictions.name.split('.')[0]
    content = report_content(detections, annotations, options, subset, title)
    names = [video['name'] for video in content['videos']]
    links = find_links(arguments, names) if arguments.videos else {}
    page = write_page(arguments.out, content, links)
    print(f'{page}: {len(names)} videos, {len(links)} of them with a file; open it in a browser')
    return 0


if __name__ == '__main__':
    run_main(main)
