#!/usr/bin/env python
"""Write the features of every test video, computed by the backbone of a trained detector."""
from __future__ import annotations

import argparse
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from sbp_tad.apis.command_line import announce, run_main
from sbp_tad.apis.launch_options import FEATURE_FORMATS, config_parser
from sbp_tad.apis.named_files import check_checkpoint, check_config, check_output
from sbp_tad.datasets.errors import VideoReadError
from sbp_tad.provenance import add_provenance, file_fingerprint
from sbp_tad.wording import count_of

if TYPE_CHECKING:
    from sbp_tad.apis.feature_extraction import ExtractionReport


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = config_parser(__doc__)
    parser.add_argument('checkpoint', help='checkpoint file of that config')
    parser.add_argument('--out', required=True, type=Path, help='folder of the feature files; '
                        'complete files are kept')
    parser.add_argument('--format', choices=FEATURE_FORMATS, default='npy',
                        help='file format (default: %(default)s)')
    parser.add_argument('--subsets', nargs='+', help='subsets of the annotation, for example '
                        'training test (default: those of the test set)')
    parser.add_argument('--clip-stride', type=int, help='slide clips by this many sampled frames '
                        'and average each over time (default: write every step of the backbone)')
    return parser


def finish(report: ExtractionReport, out_dir: Path) -> int:
    """Print a summary; return status 2 if videos failed.

    Raises:
        VideoReadError: videos failed; raised in the main process, listing them.
    """
    from mmengine.dist import is_main_process
    if is_main_process():
        print(f'{count_of(len(report.written), "video")} written to {out_dir}, '
              f'{len(report.present)} present already.')
        if report.failed:
            listing = ''.join(f'\n  {video}: {why}' for video, why in report.failed.items())
            raise VideoReadError(f'{count_of(len(report.failed), "video")} could not be '
                                 f'read:{listing}\nRepair them and run the same command again.')
    return 2 if report.failed else 0


def main(argv: list[str] | None = None) -> int:
    """Read the config and extract missing features."""
    arguments = build_parser().parse_args(argv)
    check_output('--out', arguments.out, is_folder=True)
    arguments.config = check_config(arguments.config)
    check_checkpoint(arguments.checkpoint)
    announce(f'Loading PyTorch to extract features with {arguments.config}')
    # Imported after the options are read: --help answers at once.
    from mmengine.dist import is_main_process

    from sbp_tad.apis import launch
    from sbp_tad.apis.feature_extraction import ExtractionOptions, extract_features
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
