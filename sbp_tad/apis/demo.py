"""Demo on the toy set: train with SBP, test, draw, and summarize.

A config of online detection streams the test video frame by frame.
"""
from __future__ import annotations

import json
import resource
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from rich.console import Console
from rich.table import Table

from sbp_tad.annotations import VideoAnnotation, read_annotations
from sbp_tad.apis import launch
from sbp_tad.apis.dumps import set_dump
from sbp_tad.apis.inference.online_inferencer import OnlineInferencer
from sbp_tad.datasets.toy_videos import CLASS_NAMES, ToySettings, build_toy_dataset
from sbp_tad.engine.atomic_checkpoints import BEST_LINK
from sbp_tad.engine.training_state import peak_memory_bytes
from sbp_tad.evaluation.detections import read_detections
from sbp_tad.evaluation.frame_scores import read_frame_scores
from sbp_tad.planning.saved_memory import meter_saved_memory
from sbp_tad.visualization.score_curves import draw_scores
from sbp_tad.visualization.timeline import ScoredSegments, draw_timeline

ACCURACIES = dict(average_mAP='average mAP', frame_mAP='mAP over frames',
                  frame_calibrated_mAP='calibrated mAP over frames')
# Is the detector online -> files that the demo writes.
WRITTEN = {
    False: (('timeline.png', 'one test video'),
            ('detections.json', 'all detections, ActivityNet format')),
    True: (('scores.png', 'one test video, streamed'),
           ('frame_scores.npz', 'scores of all frames, for tools/evaluate.py --online'))}


@dataclass(frozen=True)
class DemoSettings:
    """Settings of a demo.

    Args:
        config: path of a config of the toy set.
        work_dir: folder of all results.
        data: folder of the toy set; it is made if it does not exist.
        videos: number of ``train_videos`` and ``test_videos``; by default those of the toy set.
        epochs: number of epochs; by default that of the config.
        cfg_options: overrides of the config.
    """

    config: str
    work_dir: str
    data: str
    videos: dict[str, int] = field(default_factory=dict)
    epochs: int | None = None
    cfg_options: dict[str, Any] = field(default_factory=dict)


def run_demo(settings: DemoSettings, console: Console) -> None:
    """Run all steps of the demo and print the paths of the results."""
    start = time.perf_counter()
    # One thread sums in a fixed order, so every machine computes the same figures.
    # The data workers use the other cores.
    torch.set_num_threads(1)
    cfg = make_config(settings)
    made = build_toy_dataset(Path(settings.data), ToySettings(**settings.videos), workers=2)
    console.print(f"Toy set {'written to' if made else 'found in'} {settings.data}",
                  highlight=False, soft_wrap=True)
    is_online = cfg.model.type == 'OnlineActionDetector'
    runner, scores = train_and_test(cfg)
    work_dir = Path(cfg.work_dir)
    shown = (stream_test_video if is_online else draw_test_video)(cfg)
    summary = summarize(runner, scores, time.perf_counter() - start) | shown
    (work_dir / 'summary.json').write_text(json.dumps(summary, indent=2) + '\n')
    print_summary(console, summary)
    for name, meaning in (*WRITTEN[is_online], ('summary.json', 'these figures'),
                          (Path(best_checkpoint(work_dir)).name, 'the detector'),
                          (runner.timestamp, 'the log')):
        console.print(f'  {work_dir / name}: {meaning}', highlight=False, soft_wrap=True)


def make_config(settings: DemoSettings) -> Config:
    """Load the config and set the folders and the length of the demo."""
    cfg = launch.load_config(settings.config, settings.cfg_options)
    cfg.work_dir = settings.work_dir
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.dataset.data_root = settings.data
    if settings.epochs is not None:
        launch.set_epochs(cfg, settings.epochs)
    set_dump(cfg, None)
    return cfg


def train_and_test(cfg: Config) -> tuple[Runner, dict[str, float]]:
    """Train, then test the checkpoint with the best mAP."""
    with launch.config_faults():
        runner = launch.build_runner(cfg)
        runner.train()
        runner.load_checkpoint(best_checkpoint(Path(cfg.work_dir)))
        return runner, runner.test()


def best_checkpoint(work_dir: Path) -> str:
    """Return the checkpoint with the best validation score of this run."""
    return (work_dir / BEST_LINK).as_posix()


def saved_bytes(runner: Runner, keep_ratio: float) -> int:
    """Return the bytes that one training batch saves for the backward of the backbone."""
    model = runner.model
    backbone = model.backbone
    num_memory = getattr(model.head, 'memory_frames', 0)  # these are never backpropagated
    original = backbone.config
    backbone.config = replace(original, keep_ratio=keep_ratio)
    batch = model.data_preprocessor(next(iter(runner.train_dataloader)), training=True)
    model.train()
    with meter_saved_memory(backbone) as saved:
        backbone(batch['inputs'][:, :, num_memory:])
    backbone.config = original
    return saved.bytes


def accuracy(scores: dict[str, float]) -> dict[str, Any]:
    """Return the scores under their names in ``summary.json``."""
    if 'online/mAP' in scores:
        return dict(frame_mAP=scores['online/mAP'],
                    frame_calibrated_mAP=scores['online/calibrated_mAP'])
    return dict(
        average_mAP=scores['tad/average_mAP'],
        mAP={name.split('@')[1]: value for name, value in scores.items() if '@' in name})


def summarize(runner: Runner, scores: dict[str, float], seconds_total: float) -> dict[str, Any]:
    """Return the figures of the run for ``summary.json``."""
    keep_ratio = runner.model.backbone.config.keep_ratio
    times, _ = runner.message_hub.get_scalar('train/time').data
    # An upper bound: workers share most of their pages with this process.
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
    """Return frames (H, W, 3) from the middles of ``count`` equal parts of a video."""
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format='rgb24') for frame in container.decode(video=0)]
    return [frames[int((part + 0.5) * len(frames) / count)] for part in range(count)]


def first_test_video(cfg: Config) -> tuple[VideoAnnotation, Path]:
    """Return the annotation and the file of the first test video."""
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
                  f'{video.video_id}: annotation and detections',
                  video.duration_seconds, video, predictions, CLASS_NAMES,
                  thumbnails=thumbnails(file))
    return {}


def stream_test_video(cfg: Config) -> dict[str, Any]:
    """Stream the first test video and draw its scores.

    Returns:
        Number of frames, median latency of a frame, and largest difference between
        the scores of the stream and of the test.
    """
    video, file = first_test_video(cfg)
    work_dir = Path(cfg.work_dir)
    steps = list(OnlineInferencer(cfg, best_checkpoint(work_dir))(file))
    scores = np.stack([step.scores for step in steps])
    tested = read_frame_scores(work_dir / 'frame_scores.npz')
    of_video = tested.video_names.index(video.video_id)
    parts = np.split(tested.scores[:, :-1], np.cumsum(tested.video_lengths)[:-1])
    # The test derives its number of frames from the rounded duration of the annotation.
    both = min(len(scores), len(parts[of_video]))
    draw_scores(work_dir / 'scores.png', f'{video.video_id}: annotation and scores',
                np.array([step.time_seconds for step in steps]), scores[:, 1:], video, CLASS_NAMES,
                thumbnails=thumbnails(file))
    return dict(
        streamed_frames=len(steps),
        latency_seconds=float(np.median([step.latency_seconds for step in steps])),
        difference_from_test=float(np.abs(scores[:both] - parts[of_video][:both]).max()))


def print_summary(console: Console, summary: dict[str, Any]) -> None:
    """Print the figures as a table."""
    mib = 2**20
    table = Table(title='SBP detector on the toy set', title_justify='left')
    table.add_column('figure')
    table.add_column('value', justify='right')
    for tiou, value in summary.get('mAP', {}).items():
        table.add_row(f'mAP at tIoU {tiou}', f'{100 * value:.2f} %')
    for name, title in ACCURACIES.items():
        if name in summary:
            table.add_row(title, f'{100 * summary[name]:.2f} %', style='bold')
    kept, full = (summary[f'saved_for_backward_bytes{name}'] for name in ('', '_full'))
    table.add_row(f"backbone saves for backward (keep ratio {summary['keep_ratio']:g})",
                  f'{kept / mib:.1f} MiB')
    table.add_row('the same with full backpropagation', f'{full / mib:.1f} MiB')
    table.add_row('peak memory, data workers included',
                  f"{summary['peak_memory_bytes'] / mib:.0f} MiB")
    if 'latency_seconds' in summary:
        table.add_row('milliseconds per frame of the stream (median)',
                      f"{1000 * summary['latency_seconds']:.1f}")
        table.add_row('largest difference between stream and test',
                      f"{summary['difference_from_test']:.0e}")
    table.add_row('seconds per iteration (median)', f"{summary['seconds_per_iteration']:.3f}")
    table.add_row('seconds in total', f"{summary['seconds_total']:.0f}")
    console.print(table)
