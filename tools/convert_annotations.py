#!/usr/bin/env python
"""Convert annotations of other tools to the JSON that the datasets read.

Formats: csv (columns video, start, end, label[, subset, fps, duration]), epic
(EPIC_100_train.csv and similar), via (VIA 3 project or CSV export), elan (.eaf), mmaction2
(anet_anno_val.json and similar).
"""
from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from sbp_tad.apis.command_line import run_main
from sbp_tad.apis.named_files import check_output
from sbp_tad.datasets.errors import DatasetError
from sbp_tad.datasets.formats.csv_tables import read_csv
from sbp_tad.datasets.formats.elan import read_elan
from sbp_tad.datasets.formats.epic_kitchens import read_epic
from sbp_tad.datasets.formats.mmaction2 import read_mmaction2
from sbp_tad.datasets.formats.rows import Row, to_database
from sbp_tad.datasets.formats.segment_faults import report_segment_faults
from sbp_tad.datasets.formats.via import read_via
from sbp_tad.wording import count_of

FORMATS = ('csv', 'epic', 'via', 'elan', 'mmaction2')


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('format', choices=FORMATS)
    parser.add_argument('inputs', nargs='+', type=Path, metavar='INPUT')
    parser.add_argument('out', type=Path, metavar='OUT.json')
    parser.add_argument('--subset', default='training',
                        help='subset of videos whose input names none (default: %(default)s)')
    parser.add_argument('--delimiter', help='csv: one character, tab, comma, semicolon, pipe or '
                        'space (default: detected from the first line)')
    parser.add_argument('--label', choices=['verb', 'noun', 'action'], default='verb',
                        help='epic: class of a segment (default: %(default)s)')
    parser.add_argument('--class-names', type=Path, metavar='CSV',
                        help='epic: EPIC_100_verb_classes.csv or EPIC_100_noun_classes.csv')
    parser.add_argument('--video-info', type=Path, metavar='CSV',
                        help='epic: EPIC_100_video_info.csv, for fps and durations')
    parser.add_argument('--attribute', help='via: name of the attribute that is the label')
    parser.add_argument('--tiers', nargs='+', metavar='TIER',
                        help='elan: tiers to read (default: all with times of their own)')
    parser.add_argument('--media', nargs='+', metavar='NAME',
                        help='elan: linked media files to use (default: all videos)')
    return parser


def reader(arguments: argparse.Namespace) -> Callable[[Path], Iterator[Row]]:
    """Return the reader of a format with its options."""
    return dict(
        csv=partial(read_csv, delimiter=arguments.delimiter),
        epic=partial(read_epic, label=arguments.label, class_names=arguments.class_names,
                     video_info=arguments.video_info),
        mmaction2=read_mmaction2,
        via=partial(read_via, attribute=arguments.attribute, report=_print_note),
        elan=partial(read_elan, tiers=arguments.tiers, media=arguments.media,
                     report=_print_note))[arguments.format]


def _print_note(sentence: str) -> None:
    print(f'Note: {sentence}', file=sys.stderr)


def _print_warning(sentence: str) -> None:
    print(f'Warning: {sentence}', file=sys.stderr)


def write_database(content: dict[str, Any], path: Path) -> None:
    """Write the annotation.

    Raises:
        DatasetError: the file cannot be written.
    """
    try:
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + '\n', encoding='utf-8')
    except OSError as error:
        raise DatasetError(f'Cannot write {path}: {error.strerror}.') from error


def main(argv: list[str] | None = None) -> None:
    """Read the inputs, write the database and print the next step."""
    arguments = build_parser().parse_args(argv)
    check_output('OUT.json', arguments.out, makes_folder=False)
    read = reader(arguments)
    rows = [row for path in arguments.inputs for row in read(path)]
    content = to_database(rows, arguments.subset)
    report_segment_faults(rows, _print_warning)
    write_database(content, arguments.out)
    items = [item for video in content['database'].values() for item in video['annotations']]
    classes = sorted({item['label'] for item in items})
    print(f'{arguments.out}: {count_of(len(content["database"]), "video")}, '
          f'{count_of(len(items), "segment")}, {count_of(len(classes), "class", "classes")}\n'
          f'metainfo=dict(classes={classes})\n'
          f'Next: python tools/check_dataset.py {arguments.out} --videos FOLDER')


if __name__ == '__main__':
    run_main(main)
