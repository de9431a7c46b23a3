"""Measure the variance of the gradient of SBP for each sampler, before and after training."""
from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from mmengine.runner import Runner, set_random_seed
from rich.console import Console
from rich.table import Table

import sbp_tad.models.backbones.frame_cnn  # noqa: F401, registers the small network
from benchmarks.gradient_variance import (
    ORACLES,
    ClipGradients,
    EstimateError,
    clip_gradients,
    estimate_error,
)
from benchmarks.output import write_json
from sbp_tad.apis import launch
from sbp_tad.apis.checkpoints import load_weights, read_checkpoint
from sbp_tad.apis.command_line import run_main
from sbp_tad.models.detectors.temporal_detector import TemporalDetector
from sbp_tad.registry import MODELS

SAMPLERS = ('random', 'uniform', 'uniform_jitter', 'gradient', *ORACLES)
FRAME_CNN_CHANNELS, FRAME_CNN_FRAMES = 64, 64


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--config', default='configs/toy/actionformer_r3d10_sbp-r4_toy.py',
                        help='config of a detector on an SBPBackbone (default: %(default)s)')
    parser.add_argument('--data', help='folder of the data set (default: that of the config)')
    parser.add_argument('--network', choices=('detector', 'frame_cnn'), default='detector',
                        help='the detector of the config, or a small CNN of single frames with a '
                        'head that labels each of 64 frames, which this program trains')
    parser.add_argument('--checkpoint', nargs='*', default=[],
                        help='weights to measure the detector with, besides its initial ones')
    parser.add_argument('--steps', nargs='+', type=int, default=[0, 50, 200, 400],
                        help='training steps of the frame_cnn after which to measure '
                        '(default: 0 50 200 400)')
    parser.add_argument('--keep-ratio', type=float, default=0.25,
                        help='share of the clips that are kept (default: %(default)s)')
    parser.add_argument('--clip-len', type=int,
                        help='frames of a clip (default: that of the config)')
    parser.add_argument('--videos', type=int, default=8,
                        help='windows to measure (default: %(default)s)')
    parser.add_argument('--draws', type=int, default=1000, help='draws of a sampler on each video')
    parser.add_argument('--seed', type=int, default=0, help='seed of all random draws')
    parser.add_argument('--json', type=Path, metavar='FILE', help='write the results')
    return parser


def read_config(arguments: argparse.Namespace) -> Config:
    """Read the config, with network, data folder and clip length of the command line."""
    cfg = launch.load_config(arguments.config)
    init_default_scope(cfg.get('default_scope', 'sbp_tad'))
    cfg.train_dataloader.update(batch_size=1, num_workers=0, persistent_workers=False)
    if arguments.data:
        cfg.train_dataloader.dataset.data_root = arguments.data
    if arguments.network == 'frame_cnn':
        use_frame_cnn(cfg)
    cfg.model.backbone.keep_ratio = arguments.keep_ratio
    if arguments.clip_len:
        cfg.model.backbone.clip_len = arguments.clip_len
    return cfg


def use_frame_cnn(cfg: Config) -> None:
    """Replace the network of the config by the small one, on windows of 64 frames."""
    channels = FRAME_CNN_CHANNELS
    backbone = dict(type='SBPBackbone', clip_len=1, backbone=dict(type='FrameCNN',
                                                                  channels=channels))
    head = dict(type='SegmentationHead', num_classes=cfg.model.head.num_classes,
                in_channels=channels)
    cfg.model = dict(type='TemporalDetector', backbone=backbone, head=head,
                     data_preprocessor=cfg.model.get('data_preprocessor'))
    cfg.train_dataloader.dataset.num_frames = FRAME_CNN_FRAMES


def build_model(cfg: Config, seed: int) -> TemporalDetector:
    """Build the network with its initial weights."""
    set_random_seed(seed)
    with launch.config_faults():
        model = MODELS.build(cfg.model)
    model.init_weights()
    return model.train()


def with_checkpoints(cfg: Config, arguments: argparse.Namespace
                     ) -> Iterator[tuple[str, TemporalDetector]]:
    """Yield the detector with its initial weights, then with those of each checkpoint."""
    yield 'initial', build_model(cfg, arguments.seed)
    for checkpoint in arguments.checkpoint:
        model = build_model(cfg, arguments.seed)
        load_weights(model, read_checkpoint(checkpoint), checkpoint)
        yield Path(checkpoint).name, model.train()


def while_training(cfg: Config, arguments: argparse.Namespace
                   ) -> Iterator[tuple[str, TemporalDetector]]:
    """Yield the network after each number of steps of full backpropagation on two windows."""
    model = build_model(cfg, arguments.seed)
    model.backbone.set_keep_ratio(1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    loader = Runner.build_dataloader(dict(cfg.train_dataloader, batch_size=2))
    batches = (batch for _ in iter(int, 1) for batch in loader)  # epoch after epoch
    done = 0
    for step in sorted(arguments.steps):
        for batch in islice(batches, step - done):
            batch = model.data_preprocessor(batch, training=True)
            losses = model.loss(batch['inputs'], batch['data_samples'])
            optimizer.zero_grad()
            model.parse_losses(losses)[0].backward()
            optimizer.step()
        done = step
        yield f'step {step}', model


def measure(model: TemporalDetector, windows: list[dict[str, Any]], arguments: argparse.Namespace
            ) -> dict[str, list[EstimateError]]:
    """Return the errors of each sampler on each window, with the weights of the model."""
    gradients: list[ClipGradients] = []
    for batch in windows:
        batch = model.data_preprocessor(batch, training=True)
        gradients.append(clip_gradients(model, batch['inputs'], batch['data_samples']))
    return {sampler: [estimate_error(one, arguments.keep_ratio, sampler, draws=arguments.draws,
                                     seed=video) for video, one in enumerate(gradients)]
            for sampler in SAMPLERS}


def summarize(weights: str, errors: dict[str, list[EstimateError]]) -> list[dict[str, Any]]:
    """Return one row per sampler: medians over the videos."""
    variances = {name: median(e.variance for e in found) for name, found in errors.items()}
    return [dict(weights=weights, sampler=name, variance=variances[name],
                 to_random=variances[name] / variances['random'],
                 to_uniform_jitter=variances[name] / variances['uniform_jitter'],
                 bias=median(e.bias for e in found),
                 bias_to_noise=median(e.bias / e.noise for e in found))
            for name, found in errors.items()]


def print_rows(rows: list[dict[str, Any]], keep_ratio: float) -> None:
    """Print a table of all rows."""
    table = Table(title=f'variance / |full gradient|^2 at r = {keep_ratio:g}, median over videos',
                  caption='bias / noise: squared error of the mean over draws, divided by the '
                  'sampling error (1 = unbiased); oracles know the true gradients')
    for name in ('weights', 'sampler', 'variance', 'to random', 'to uniform_jitter',
                 'bias / noise'):
        table.add_column(name, justify='left' if name in ('weights', 'sampler') else 'right')
    for row in rows:
        table.add_row(row['weights'], row['sampler'], f'{row["variance"]:.4f}',
                      f'{row["to_random"]:.2f}', f'{row["to_uniform_jitter"]:.2f}',
                      f'{row["bias_to_noise"]:.2f}')
    Console(markup=False, emoji=False, width=110).print(table)


def main(argv: list[str] | None = None) -> None:
    """Measure with the initial weights and each checkpoint, print, and write the file."""
    arguments = build_parser().parse_args(argv)
    torch.set_num_threads(1)
    MMLogger.get_current_instance().setLevel('ERROR')  # no lines on initial weights
    cfg = read_config(arguments)
    set_random_seed(arguments.seed)  # the same windows for every network and its weights
    windows = list(islice(Runner.build_dataloader(cfg.train_dataloader), arguments.videos))
    snapshots = while_training if arguments.network == 'frame_cnn' else with_checkpoints
    rows = []
    for name, model in snapshots(cfg, arguments):
        rows += summarize(name, measure(model, windows, arguments))
    print_rows(rows, arguments.keep_ratio)
    if arguments.json:
        write_json(arguments.json, rows)


if __name__ == '__main__':
    run_main(main)
