#!/usr/bin/env python
"""Draw the toy dataset: mp4 videos and an ActivityNet-style annotation.

A complete set with the same settings is kept.
"""
from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path

from sbp_tad.apis.command_line import announce, run_main
from sbp_tad.apis.named_files import check_output
from sbp_tad.datasets.toy_videos.settings import LOOK_NAMES, ToySettings


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0],
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    default = ToySettings()
    parser.add_argument('--out', type=Path, default=Path('data/toy'), help='folder to write to')
    parser.add_argument('--seed', type=int, default=default.seed, help='seed of motion and look')
    parser.add_argument('--train-videos', type=int, default=default.train_videos,
                        help='videos of the subset "training"')
    parser.add_argument('--test-videos', type=int, default=default.test_videos,
                        help='videos of the subset "test"')
    parser.add_argument('--size', type=int, default=default.size, help='side in pixels, even')
    parser.add_argument('--fps', type=int, default=default.fps, help='frames per second')
    parser.add_argument('--min-seconds', type=float, default=default.min_seconds,
                        help='length of the shortest video')
    parser.add_argument('--max-seconds', type=float, default=default.max_seconds,
                        help='length of the longest video')
    parser.add_argument('--look', default=default.look, choices=LOOK_NAMES,
                        help='sprites and textures to draw with')
    parser.add_argument('--trimmed', action='store_true',
                        help='write clips of a single action and lists of them, for a '
                             'recognizer; set lengths of 1 to 8 seconds')
    parser.add_argument('--workers', type=int, default=min(2, os.cpu_count() or 1),
                        help='number of videos drawn at the same time')
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the set unless it is complete."""
    parser = build_parser()
    options = vars(parser.parse_args(arguments))
    if options['train_videos'] < 1:
        parser.error(f"argument --train-videos: expected 1 or more, got {options['train_videos']}")
    folder, workers = options.pop('out'), options.pop('workers')
    check_output('--out', folder, is_folder=True)
    settings = ToySettings(**options)
    # Imported after the options are read: --help answers at once.
    from sbp_tad.datasets.toy_videos.build import build_toy_dataset
    announce(f'Drawing the toy dataset in {folder}')
    start = time.perf_counter()
    written = build_toy_dataset(folder, settings, workers)
    videos = f'{settings.train_videos} training and {settings.test_videos} test videos'
    if written:
        print(f'{folder}: {videos} written in {time.perf_counter() - start:.0f} s')
    else:
        print(f'{folder}: {videos} are present already')


if __name__ == '__main__':
    run_main(main)
