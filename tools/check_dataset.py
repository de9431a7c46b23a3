#!/usr/bin/env python
"""Find every inconsistency of a data set, and advise windows, pyramid and memory.

Check the data sets and the model of a config, or an annotation JSON alone. Exit status: 0 clean,
1 errors (with --strict also warnings), 2 the check failed.
"""
from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from sbp_tad.apis.command_line import announce, run_main
from sbp_tad.apis.config.options import add_config_options
from sbp_tad.apis.named_files import check_output
from sbp_tad.datasets.checks.findings import is_clean
from sbp_tad.datasets.errors import DatasetError

if TYPE_CHECKING:
    from sbp_tad.apis.dataset_check import DatasetReport


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', metavar='CONFIG_OR_JSON')
    parser.add_argument('--videos', type=Path, metavar='DIR',
                        help='with a JSON: folder of the video files (default: do not check files)')
    parser.add_argument('--filename-template', default='{video_id}.mp4', metavar='TEMPLATE',
                        help='with a JSON: names of the video files, as the dataset will look '
                             'for them (default: %(default)s)')
    parser.add_argument('--classes', nargs='+', metavar='NAME',
                        help='with a JSON: class names (default: the labels that occur)')
    parser.add_argument('--subsets', nargs='+', metavar='NAME',
                        help='with a JSON: subsets to check (default: all)')
    parser.add_argument('--ignore-label', nargs='*', default=['Ambiguous'], metavar='LABEL',
                        help='with a JSON: labels that are not classes (default: Ambiguous)')
    parser.add_argument('--model', metavar='CONFIG',
                        help='config of the model whose memory is measured (default: the config)')
    parser.add_argument('--no-files', action='store_true',
                        help='with a config: do not check the video files')
    add_config_options(parser)
    parser.add_argument('--coverage', type=float, default=0.99,
                        help='share of the segments to serve (default: %(default)s)')
    parser.add_argument('--strict', action='store_true', help='also fail on warnings')
    parser.add_argument('--json', type=Path, metavar='OUT', help='also write the report here')
    return parser


def is_json(source: str) -> bool:
    """Return whether the source is an annotation; else it is a config."""
    return source.endswith(('.json', '.json.gz'))


def make_report(arguments: argparse.Namespace) -> DatasetReport:
    """Check and advise; measure memory where there is a model."""
    # Imported after the options are read: --help answers at once.
    from sbp_tad.apis.dataset_check import check_annotation, declare_json
    declarations, cfg = [], None
    if is_json(arguments.source):
        declarations = declare_json(arguments.source, arguments.videos, arguments.classes,
                                    arguments.subsets, arguments.ignore_label,
                                    arguments.filename_template)
        if arguments.model is None:  # an annotation alone needs no PyTorch
            announce(f'Checking {arguments.source}')
            return check_annotation(declarations, arguments.coverage)
    announce(f'Loading PyTorch to check {arguments.source}')
    from sbp_tad.apis.config_check import check_with_model, declare_config
    from sbp_tad.apis.launch import load_config
    if not declarations:
        cfg = load_config(arguments.source, arguments.cfg_options)
        declarations = declare_config(cfg, not arguments.no_files)
    model = None if arguments.model is None else load_config(arguments.model)
    return check_with_model(declarations, cfg, model, arguments.coverage)


def main(argv: list[str] | None = None) -> int:
    """Print the report, write it where asked; 0 if the data set is clean, else 1."""
    arguments = build_parser().parse_args(argv)
    check_output('--json', arguments.json, makes_folder=False)
    report = make_report(arguments)
    from sbp_tad.apis.dataset_report import print_report, report_to_json
    clean = is_clean(report.findings, arguments.strict)
    print_report(report)
    if arguments.json:
        try:
            arguments.json.write_text(json.dumps(report_to_json(report, clean), indent=2) + '\n',
                                      encoding='utf-8')
        except OSError as error:
            raise DatasetError(f'Cannot write the report to {arguments.json}: '
                               f'{error.strerror}.') from error
    return 0 if clean else 1


if __name__ == '__main__':
    run_main(main)
