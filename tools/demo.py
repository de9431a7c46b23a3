#!/usr/bin/env python
"""From nothing to a scored detector: make the toy set, train with SBP, test, draw, report.

With a config of online detection the test video is streamed, frame by frame.
"""
from __future__ import annotations

import argparse
import json
import resource
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from mmengine.config import Config, DictAction
from mmengine.runner import Runner
from rich.console import Console
from rich.table import Table

from sbp_tad.annotations import VideoAnnotation, read_annotations
from sbp_tad.apis import launch
from sbp_tad.apis.command_line import run_main
from sbp_tad.apis.inference.online_inferencer import OnlineInferencer
from sbp_tad.datasets.toy_videos import CLASS_NAMES, ToySettings, build_toy_dataset
from sbp_tad.engine.training_state import peak_memory_bytes
from sbp_tad.evaluation.detections import read_detections
from sbp_tad.evaluation.frame_scores import read_frame_scores
from sbp_tad.sbp import SavedMemory
from sbp_tad.visualization.score_curves import draw_scores
from sbp_tad.visualization.timeline import ScoredSegments, draw_timeline

CONFIG = Path(__file__).parents[1] / 'configs/toy/actionformer_r3d10_sbp-r4_toy.py'

ACCURACIES = dict(average_mAP='average mAP', frame_mAP='mAP over frames',
                  frame_calibrated_mAP='calibrated mAP over frames')
# By whether the detector is online.
WRITTEN = {
    False: (('timeline.png', 'one test video'),
            ('detections.json', 'all detections, ActivityNet form')),
    True: (('scores.png', 'one test video, streamed'),
           ('frame_scores.npz', 'scores of all frames, for tools/evaluate.py --online'))}


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line; ``--help`` explains every option."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', nargs='?', default=str(CONFIG), help='a config of the toy set')
    parser.add_argument('--work-dir', default='work_dirs/demo', help='where everything goes')
    parser.add_argument('--data', default='data/toy', help='folder of the toy set, made if absent')
    default = ToySettings()
    parser.add_argument('--train-videos', type=int, default=default.train_videos)
    parser.add_argument('--test-videos', type=int, default=default.test_videos)
    parser.add_argument('--epochs', type=int, help="fewer epochs than the config's, for a trial")
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={},
                        help='key=value pairs that override the config')
    return parser.parse_args(argv)


def make_config(arguments: argparse.Namespace) -> Config:
    """The config with the demo's folders and length."""
    cfg = launch.load_config(arguments.config, arguments.cfg_options)
    cfg.work_dir = arguments.work_dir
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.dataset.data_root = arguments.data
    if arguments.epochs is not None:
        launch.set_epochs(cfg, arguments.epochs)
    launch.set_dump(cfg, None)
    return cfg


def train_and_test(cfg: Config) -> tuple[Runner, dict[str, float]]:
    """Train, then test the checkpoint with the best mAP."""
    with launch.config_faults():
        runner = launch.build_runner(cfg)
        runner.train()
        runner.load_checkpoint(best_checkpoint(Path(cfg.work_dir)))
        return runner, runner.test()


def best_checkpoint(work_dir: Path) -> str:
    """The checkpoint that this run's validation liked best."""
    return max(work_dir.glob('best_*.pth'), key=lambda path: path.stat().st_mtime).as_posix()


def saved_bytes(runner: Runner, keep_ratio: float) -> int:
    """Bytes that one training batch saves for the backward of the backbone."""
    model = runner.model
    backbone = model.backbone
    num_memory = getattr(model.head, 'memory_frames', 0)  # these are never backpropagated
    original = backbone.config
    backbone.config = replace(original, keep_ratio=keep_ratio)
    batch = model.data_preprocessor(next(iter(runner.train_dataloader)), training=True)
    model.train()
    with SavedMemory(backbone) as saved:
        backbone(batch['inputs'][:, :, num_memory:])
    backbone.config = original
    return saved.bytes


def accuracy(scores: dict[str, float]) -> dict[str, Any]:
    """What the metric found, by the names it has in ``summary.json``."""
    if 'online/mAP' in scores:
        return dict(frame_mAP=scores['online/mAP'],
                    frame_calibrated_mAP=scores['online/calibrated_mAP'])
    return dict(
        average_mAP=scores['tad/average_mAP'],
        mAP={name.split('@')[1]: value for name, value in scores.items() if '@' in name})


def summarize(runner: Runner, scores: dict[str, float], seconds_total: float) -> dict[str, Any]:
    """The figures of the run, as they stand in ``summary.json``."""
    keep_ratio = runner.model.backbone.config.keep_ratio
    times, _ = runner.message_hub.get_scalar('train/time').data
    # Workers share most of their pages with this process, so this bounds from above.
    workers = runner.cfg.train_dataloader.num_workers + runner.cfg.test_dataloader.num_workers
    worker_bytes = peak_memory_bytes(resource.RUSAGE_CHILDREN)
    return dict(
        **accuracy(scores),
        keep_ratio=keep_ratio,
        saved_for_backward_bytes=saved_bytes(runner, keep_ratio),
        saved_for_backward_bytes_full=saved_bytes(runner, 1.0),
        peak_memory_bytes=peak_memory_bytes() + workers * worker_bytes,
        iterations=runner.iter,
        seconds_per_iteration=float(np.median(times)),
        seconds_total=seconds_total,
        torch_version=torch.__version__, torch_threads=torch.get_num_threads(),
        config=Path(runner.cfg.filename).stem)


def thumbnails(path: Path, count: int = 12) -> list[np.ndarray]:
    """Frames (H, W, 3) from the middles of ``count`` equal parts of a video."""
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format='rgb24') for frame in container.decode(video=0)]
    return [frames[int((part + 0.5) * len(frames) / count)] for part in range(count)]


def first_test_video(cfg: Config) -> tuple[VideoAnnotation, Path]:
    """Annotation and file of the first test video."""
    folder = Path(cfg.test_dataloader.dataset.data_root)
    video = next(iter(read_annotations(folder / 'annotations.json', ['test']).values()))
    return video, folder / 'videos' / f'{video.video_id}.mp4'


def draw_test_video(cfg: Config) -> dict[str, Any]:
    """Draw the first test video: annotation above detections."""
    video, file = first_test_video(cfg)
    found = read_detections(Path(cfg.work_dir) / 'detections.json')
    rows = found.video_index == found.video_ids.index(video.video_id)
    predictions = ScoredSegments(found.segments_seconds[rows],
                                 [found.labels[i] for i in found.label_index[rows]],
                                 found.scores[rows])
    draw_timeline(Path(cfg.work_dir) / 'timeline.png',
                  f'{video.video_id}: what is there, and what was detected',
                  video.duration_seconds, video, predictions, CLASS_NAMES,
                  thumbnails=thumbnails(file))
    return {}


def stream_test_video(cfg: Config) -> dict[str, Any]:
    """Stream the first test video, draw its scores and say how they were told.

    Returns:
        The median latency of a frame, and the largest difference between a
        score of the stream and that of the test.
    """
    video, file = first_test_video(cfg)
    work_dir = Path(cfg.work_dir)
    steps = list(OnlineInferencer(cfg, best_checkpoint(work_dir))(file))
    scores = np.stack([step.scores for step in steps])
    tested = read_frame_scores(work_dir / 'frame_scores.npz')
    of_video = tested.video_names.index(video.video_id)
    parts = np.split(tested.scores[:, :-1], np.cumsum(tested.video_lengths)[:-1])
    # The annotation rounds the duration, from which the test counts the frames.
    both = min(len(scores), len(parts[of_video]))
    draw_scores(work_dir / 'scores.png', f'{video.video_id}: what is there, and what was told',
                np.array([step.time_seconds for step in steps]), scores[:, 1:], video, CLASS_NAMES,
                thumbnails=thumbnails(file))
    return dict(
        streamed_frames=len(steps),
        latency_seconds=float(np.median([step.latency_seconds for step in steps])),
        difference_from_test=float(np.abs(scores[:both] - parts[of_video][:both]).max()))


def print_summary(console: Console, summary: dict[str, Any]) -> None:
    """The figures as a table."""
    mib = 2**20
    table = Table(title='SBP detector on the toy set', title_justify='left')
    table.add_column('figure')
    table.add_column('value', justify='right')
    for tiou, value in summary.get('mAP', {}).items():
        table.add_row(f'mAP at tIoU {tiou}', f'{100 * value:.2f} %')
    for name, words in ACCURACIES.items():
        if name in summary:
            table.add_row(words, f'{100 * summary[name]:.2f} %', style='bold')
    kept, full = (summary[f'saved_for_backward_bytes{name}'] for name in ('', '_full'))
    table.add_row(f"backbone saves for backward (keep ratio {summary['keep_ratio']:g})",
                  f'{kept / mib:.1f} MiB')
    table.add_row('the same with full backpropagation', f'{full / mib:.1f} MiB')
    table.add_row('peak memory, data workers included',
                  f"{summary['peak_memory_bytes'] / mib:.0f} MiB")
    if 'latency_seconds' in summary:
        table.add_row('milliseconds a frame of the stream (median)',
                      f"{1000 * summary['latency_seconds']:.1f}")
        table.add_row('largest difference between stream and test',
                      f"{summary['difference_from_test']:.0e}")
    table.add_row('seconds an iteration (median)', f"{summary['seconds_per_iteration']:.3f}")
    table.add_row('seconds in all', f"{summary['seconds_total']:.0f}")
    console.print(table)


def main(argv: list[str] | None = None) -> None:
    """Run every stop of the pipeline and say where the results are."""
    start = time.perf_counter()
    # One thread, whatever the machine: the same sums in the same order, hence the same
    # figures, and the data workers have the other cores.
    torch.set_num_threads(1)
    arguments = parse_arguments(argv)
    cfg = make_config(arguments)
    settings = ToySettings(train_videos=arguments.train_videos, test_videos=arguments.test_videos)
    made = build_toy_dataset(Path(arguments.data), settings, workers=2)
    console = Console()
    console.print(f"Toy set {'written to' if made else 'found in'} {arguments.data}",
                  highlight=False, soft_wrap=True)
    is_online = cfg.model.type == 'OnlineActionDetector'
    runner, scores = train_and_test(cfg)
    work_dir = Path(cfg.work_dir)
    shown = (stream_test_video if is_online else draw_test_video)(cfg)
    summary = summarize(runner, scores, time.perf_counter() - start) | shown
    (work_dir / 'summary.json').write_text(json.dumps(summary, indent=2) + '\n')
    print_summary(console, summary)
    for name, what in (*WRITTEN[is_online], ('summary.json', 'these figures'),
                       (Path(best_checkpoint(work_dir)).name, 'the detector'),
                       (runner.timestamp, 'the log')):
        console.print(f'  {work_dir / name}: {what}', highlight=False, soft_wrap=True)


if __name__ == '__main__':
    run_main(main)
