#!/usr/bin/env python
"""Prepare THUMOS'14: make its annotation, re-encode videos, extract frames, check the files.

Exit status: 0 clean, 1 missing, unreadable, different or extra files, 2 the preparation failed.
data/README.md shows the folder.
"""
from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from sbp_tad.annotations import read_annotations
from sbp_tad.apis.command_line import announce, run_main
from sbp_tad.apis.named_files import check_output
from sbp_tad.datasets.checks.findings import is_clean
from sbp_tad.datasets.errors import DatasetError
from sbp_tad.datasets.ffmpeg import Conversion, extract_frames, reencode

if TYPE_CHECKING:
    from sbp_tad.apis.dataset_check import DatasetReport


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data-root', type=Path, default=Path('data/thumos14'), metavar='DIR',
                        help='holds annotations/thumos14.json and videos/ (default: %(default)s)')
    parser.add_argument('--videos', type=Path, metavar='DIR',
                        help='folder of the videos (default: videos/ in the data root)')
    making = parser.add_argument_group('annotation')
    making.add_argument('--official', type=Path, metavar='DIR',
                        help='make the annotation from the published files below this '
                             'folder, for example Diving_val.txt')
    making.add_argument('--info', type=Path, nargs='+', default=[], metavar='CSV',
                        help='with --official: video, fps and count (frames) of each video')
    converting = parser.add_argument_group(
        'conversion with ffmpeg; continues after an interruption')
    converting.add_argument('--reencode', type=Path, metavar='DIR',
                            help='write H.264 copies here, and check these')
    converting.add_argument('--extract-frames', type=Path, metavar='DIR',
                            help='write a folder of img_00001.jpg ... per video here')
    converting.add_argument('--fps', type=float, help='convert to this rate (default: keep it)')
    converting.add_argument('--short-side', type=int, metavar='PIXELS',
                            help='convert to this size (default: keep it)')
    converting.add_argument('--jobs', type=int, default=2,
                            help='processes of ffmpeg at the same time (default: %(default)s)')
    parser.add_argument('--allow-extra', action='store_true',
                        help='accept videos that are not in the annotation')
    parser.add_argument('--json', type=Path, metavar='OUT', help='also write the report here')
    return parser


def prepare(arguments: argparse.Namespace) -> DatasetReport:
    """Make the annotation, convert videos and check files, as the options say."""
    from sbp_tad.apis.thumos14_preparation import (
        EXTRA_FILE,
        check_videos,
        convert_videos,
        make_annotation,
    )
    annotation = arguments.data_root / 'annotations' / 'thumos14.json'
    if arguments.official is not None:
        make_annotation(annotation, arguments.official, arguments.info)
    videos = read_annotations(annotation)
    folder = arguments.videos or arguments.data_root / 'videos'
    conversion = Conversion(arguments.fps, arguments.short_side)
    failures, fps = [], None
    if arguments.reencode is not None:
        failures += convert_videos(reencode, videos, folder, arguments.reencode, '.mp4',
                                   conversion, arguments.jobs)
        folder, fps = arguments.reencode, arguments.fps
    if arguments.extract_frames is not None:
        failures += convert_videos(extract_frames, videos, folder, arguments.extract_frames, '',
                                   conversion, arguments.jobs)
    report = check_videos(videos, folder, fps)
    report.findings[:0] = failures
    if arguments.allow_extra:
        report.findings[:] = [found for found in report.findings if found.kind != EXTRA_FILE]
    return report


def write_json(report: DatasetReport, path: Path) -> None:
    """Write the report as JSON."""
    from sbp_tad.apis.dataset_report import report_to_json
    content = report_to_json(report, is_clean(report.findings, strict=True))
    try:
        path.write_text(json.dumps(content, indent=2) + '\n', encoding='utf-8')
    except OSError as error:
        raise DatasetError(f'Cannot write the report to {path}: {error.strerror}.') from error


def main(argv: list[str] | None = None) -> int:
    """Print the report, and write it if asked; return 0 if files and annotation agree."""
    arguments = build_parser().parse_args(argv)
    check_output('--json', arguments.json, makes_folder=False)
    for option, folder in (('--reencode', arguments.reencode),
                           ('--extract-frames', arguments.extract_frames)):
        check_output(option, folder, is_folder=True)
    announce(f'Checking {arguments.data_root}')
    # Imported after the options are read: --help answers at once.
    from sbp_tad.apis.dataset_report import print_report
    report = prepare(arguments)
    print_report(report)
    if arguments.json is not None:
        write_json(report, arguments.json)
    return 0 if is_clean(report.findings, strict=True) else 1


if __name__ == '__main__':
    run_main(main)
