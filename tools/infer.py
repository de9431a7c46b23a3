#!/usr/bin/env python
"""Detect the actions in videos: print them, or write them to a folder."""
from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from sbp_tad.apis.command_line import announce, run_main
from sbp_tad.apis.launch_options import RESULT_FORMATS, add_launch_options
from sbp_tad.apis.named_files import check_checkpoint, check_config, check_inputs, check_output
from sbp_tad.datasets.errors import VideoReadError
from sbp_tad.provenance import add_provenance, file_fingerprint, list_fingerprint
from sbp_tad.wording import count_of

if TYPE_CHECKING:
    from sbp_tad.apis.inference.results import VideoDetections

NUM_SHOWN = 10


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('input', nargs='+', help='video files, or folders of them')
    parser.add_argument('--config', required=True, help='config of the detector, or the name of '
                        'a recipe')
    parser.add_argument('--checkpoint', required=True, help='its trained weights')
    parser.add_argument('--out', type=Path, help='folder of the results; videos that an earlier '
                        'run finished are not processed again')
    parser.add_argument('--format', nargs='+', choices=RESULT_FORMATS, default=['activitynet'],
                        help='formats of the file of all videos in that folder '
                        '(default: activitynet)')
    parser.add_argument('--vis', type=Path, help='folder for a timeline picture per video; '
                        'existing pictures of finished videos are kept')
    parser.add_argument('--score-threshold', type=float, default=0.0,
                        help='drop detections below this score (default: %(default)s)')
    parser.add_argument('--batch-size', type=int,
                        help='windows per batch (default: that of the config)')
    parser.add_argument('--workers', type=int, default=1,
                        help='processes that decode ahead (default: %(default)s)')
    parser.add_argument('--device', default='auto', help='auto, cpu, cuda or cuda:N')
    parser.add_argument('--fps', type=float, help='frame rate of features or frame folders that '
                        'do not state theirs; for video files the rate in which stride_frames of '
                        'the config counts (default: that of the file)')
    add_launch_options(parser)
    return parser


def results_table(results: list[VideoDetections]) -> Table:
    """Return a table of the best detections of each video, in order of time."""
    table = Table()
    for name in ('video', 'start s', 'end s', 'action', 'score'):
        table.add_column(name, justify='left' if name in ('video', 'action') else 'right',
                         overflow='fold')
    for result in results:
        best = sorted(result.detections[:NUM_SHOWN], key=lambda found: found.start_seconds)
        for number, found in enumerate(best):
            table.add_row('' if number else result.video_id, f'{found.start_seconds:.2f}',
                          f'{found.end_seconds:.2f}', found.label, f'{found.score:.3f}')
        if rest := len(result.detections) - len(best):
            table.add_row('', '', '', f'and {rest} with lower scores', '')
        elif not best:
            table.add_row(result.video_id, '', '', 'unreadable' if result.error else 'none', '')
        table.add_section()
    return table


def finish(results: list[VideoDetections], arguments: argparse.Namespace) -> int:
    """Write or print the results; return status 2 if videos are unreadable.

    Raises:
        VideoReadError: videos are unreadable; raised in the main process, listing them.
    """
    from mmengine.dist import is_main_process

    from sbp_tad.apis.inference.results import write_results
    failed = [result for result in results if result.error is not None]
    found = sum(len(result.detections) for result in results)
    if is_main_process():
        console = Console(markup=False, emoji=False, file=sys.stdout)
        if arguments.out is None:
            console.print(results_table(results))
        else:
            for path in write_results(arguments.out, results, arguments.format):
                console.print(f'{count_of(found, "detection")} in '
                              f'{count_of(len(results) - len(failed), "video")} written to {path}',
                              highlight=False, soft_wrap=True, markup=False)
        if failed:
            listing = ''.join(f'\n  {result.video_id}: {result.error}' for result in failed)
            raise VideoReadError(f'{len(failed)} of {len(results)} videos could not be read to '
                                 f'the end:{listing}')
    return 2 if failed else 0


def main(argv: list[str] | None = None) -> int:
    """Load the detector and run it on every input."""
    arguments = build_parser().parse_args(argv)
    check_output('--out', arguments.out, is_folder=True)
    check_output('--vis', arguments.vis, is_folder=True)
    config = check_config(arguments.config)
    check_checkpoint(arguments.checkpoint)
    check_inputs(arguments.input)
    announce(f'Loading PyTorch to run {arguments.config}')
    # Imported after the options are read: --help answers at once.
    from mmengine.dist import is_main_process

    from sbp_tad.apis import launch
    from sbp_tad.apis.inference.inferencer import TADInferencer
    os.environ.setdefault('LOCAL_RANK', str(arguments.local_rank))
    cfg = launch.load_config(config, arguments.cfg_options)
    launch.start_processes(cfg, arguments.launcher)
    inferencer = TADInferencer(cfg, arguments.checkpoint, arguments.device)
    results = inferencer(arguments.input, arguments.batch_size, fps=arguments.fps,
                         score_threshold=arguments.score_threshold, out_dir=arguments.out,
                         vis_dir=arguments.vis, num_workers=arguments.workers)
    if arguments.out is not None and is_main_process():
        add_provenance(arguments.out, 'infer', config=dict(file=cfg.filename, text=cfg.pretty_text),
                       checkpoint=file_fingerprint(arguments.checkpoint), videos=list_fingerprint(
                           result.filename for result in results if result.filename))
    return finish(results, arguments)


if __name__ == '__main__':
    run_main(main)
