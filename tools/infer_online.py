#!/usr/bin/env python
"""Print the current action of a stream while its frames arrive."""
from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from sbp_tad.apis.command_line import announce, run_main
from sbp_tad.apis.launch_options import add_launch_options
from sbp_tad.apis.named_files import check_checkpoint, check_config, check_inputs
from sbp_tad.wording import count_of

if TYPE_CHECKING:
    from sbp_tad.apis.inference.online_inferencer import OnlineStep


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('source', help='a video file, or the index of a camera')
    parser.add_argument('--config', required=True, help='config of the detector, or the name of '
                        'a recipe')
    parser.add_argument('--checkpoint', required=True, help='its trained weights')
    parser.add_argument('--device', default='auto', help='auto, cpu, cuda or cuda:N')
    parser.add_argument('--fps', type=float, help='frame rate of a camera that does not report '
                        'it; for a video file the rate in which stride_frames of the config counts '
                        '(default: that of the file)')
    parser.add_argument('--json', action='store_true',
                        help='print a JSON line per frame, with the scores of all classes')
    add_launch_options(parser)
    return parser


def step_json(step: OnlineStep, class_names: tuple[str, ...]) -> str:
    """Return the step as a line of JSON."""
    scores = dict(zip(('background', *class_names), map(float, step.scores)))
    return json.dumps(dict(frame_index=step.frame_index, time_seconds=step.time_seconds,
                           latency_seconds=step.latency_seconds, scores=scores))


def main(argv: list[str] | None = None) -> None:
    """Print a line when the action changes, or one per frame."""
    arguments = build_parser().parse_args(argv)
    config = check_config(arguments.config)
    check_checkpoint(arguments.checkpoint)
    is_camera = arguments.source.isdecimal()
    if not is_camera:
        check_inputs([arguments.source])
    announce(f'Loading PyTorch to run {arguments.config}')
    # Imported after the options are read: --help answers at once.
    from sbp_tad.apis import launch
    from sbp_tad.apis.inference.online_inferencer import OnlineInferencer
    cfg = launch.load_config(config, arguments.cfg_options)
    inferencer = OnlineInferencer(cfg, arguments.checkpoint, arguments.device)
    source = int(arguments.source) if is_camera else arguments.source
    before: str | None = None
    num_frames = num_begun = 0
    for step in inferencer(source, arguments.fps):
        num_frames += 1
        label = inferencer.label(step)
        if arguments.json:
            print(step_json(step, inferencer.class_names), flush=True)
        elif label != before:
            num_begun += label is not None
            print(f'{step.time_seconds:8.2f} s  {label or "-"}  {step.scores.max():.2f}',
                  flush=True)
        before = label
    begun = count_of(num_begun, 'action') if num_begun else 'no action'
    announce(f'{count_of(num_frames, "frame")}, {begun} began')


if __name__ == '__main__':
    run_main(main)
