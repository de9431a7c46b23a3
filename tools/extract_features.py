#!/usr/bin/env python
"""Write the features that a trained detector's backbone gives for every test video."""
from __future__ import annotations

import argparse
import os
from dataclasses import asdict
from pathlib import Path

from mmengine.dist import is_main_process

from sbp_tad.apis import launch
from sbp_tad.apis.command_line import run_main
from sbp_tad.apis.feature_extraction import (FORMATS, ExtractionOptions, ExtractionReport,
                                             extract_features)
from sbp_tad.datasets.errors import VideoReadError
from sbp_tad.provenance import add_provenance, file_fingerprint


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line; ``--help`` explains every option."""
    parser = launch.config_parser(__doc__)
    parser.add_argument('checkpoint', help='checkpoint file of that config')
    parser.add_argument('--out', required=True, type=Path, help='folder of the feature files; '
                        'those that are complete are left as they are')
    parser.add_argument('--format', choices=FORMATS, default='npy', help='of the files')
    parser.add_argument('--subsets', nargs='+', help='subsets of the annotation, such as '
                        'training test (default: those of the test set)')
    parser.add_argument('--clip-stride', type=int, help='slide clips by so many sampled frames '
                        'and average each over time (default: every step, as the neck sees it)')
    return parser.parse_args(argv)


def finish(report: ExtractionReport, out_dir: Path) -> int:
    """Say what was done; status 2 where videos failed.

    Raises:
        VideoReadError: in the main process, listing those videos.
    """
    if is_main_process():
        print(f'{len(report.written)} videos written to {out_dir}, {len(report.present)} were '
              'there already.')
        if report.failed:
            listing = ''.join(f'\n  {video}: {why}' for video, why in report.failed.items())
            raise VideoReadError(f'{len(report.failed)} videos could not be read:{listing}\n'
                                 'Mend them and run the same command again.')
    return 2 if report.failed else 0


def main(argv: list[str] | None = None) -> int:
    """Read the config, extract what is missing."""
    arguments = parse_arguments(argv)
    options = ExtractionOptions(arguments.out, arguments.format, arguments.clip_stride,
                                subsets=arguments.subsets)
    os.environ.setdefault('LOCAL_RANK', str(arguments.local_rank))
    cfg = launch.load_config(arguments.config, arguments.cfg_options)
    report = extract_features(cfg, arguments.checkpoint, options, arguments.launcher)
    if is_main_process():
        add_provenance(arguments.out, 'extract_features', report=asdict(report),
                       checkpoint=file_fingerprint(arguments.checkpoint),
                       config=dict(file=cfg.filename, text=cfg.pretty_text))
    return finish(report, arguments.out)


if __name__ == '__main__':
    run_main(main)
