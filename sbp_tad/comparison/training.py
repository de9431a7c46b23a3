"""Training of one run of a comparison in its own process, and its result."""
from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmengine.utils import import_modules_from_strings

from sbp_tad.apis import launch
from sbp_tad.apis.command_line import run_main
from sbp_tad.comparison.errors import ComparisonError, RunFailedError
from sbp_tad.comparison.measurement import TrainingStep
from sbp_tad.comparison.models import build_model
from sbp_tad.comparison.runs import (
    RESULT,
    StrategyRun,
    hold,
    prepare_folder,
    weight_files,
    write_json,
)
from sbp_tad.engine.cpu_time import CPUTimeHook
from sbp_tad.engine.training_state import peak_memory_bytes
from sbp_tad.errors import UserError
from sbp_tad.visualization.training_log import read_training_log

# Names of the main score in the log, of an offline and an online detector.
MAIN_SCORES = ('tad/average_mAP', 'online/mAP')
OUTPUT = 'output.txt'


def check_runs(runs: list[StrategyRun]) -> None:
    """Build the model of every strategy once, before anything is trained.

    Raises:
        ComparisonError: a strategy that the backbone does not support, or a missing checkpoint.
    """
    missing = [path for path in weight_files(runs[0].cfg.to_dict()) if not Path(path).is_file()]
    if missing:
        raise ComparisonError(f'the config loads {", ".join(missing)}, which does not exist; '
                              'train it first, or give another path by --cfg-options.')
    for run in {run.name: run for run in runs}.values():
        try:
            build_model(run.cfg)
        except UserError as error:
            raise ComparisonError(f'strategy {run.name} does not work with this config: '
                                  f'{error}') from error


def finish_run(run: StrategyRun) -> dict[str, Any]:
    """Train a run, or the rest of it, unless it is finished; return its result.

    Raises:
        RunHeldError: another process is working on it.
        RunFailedError: it ended without a result.
    """
    with hold(run.folder, run.title):
        if run.result() is None:
            prepare_folder(run)
            train_in_process(run)
        return run.result()


def train_in_process(run: StrategyRun) -> None:
    """Train in a fresh process, whose peak memory is that of the run, and write the result.

    Raises:
        RunFailedError: it ended without a result.
    """
    process = multiprocessing.get_context('spawn').Process(target=_train_alone, args=(run, ))
    process.start()
    try:
        process.join()
    finally:
        process.terminate()
        process.join()
    if run.result() is None:
        output = run.folder / OUTPUT
        lines = output.read_text(errors='replace').split('\n') if output.exists() else []
        last = next((line.strip() for line in reversed(lines) if line.strip()), 'no output')
        raise RunFailedError(f'{run.title} failed (exit status {process.exitcode}): {last} '
                             f'[{output}]')


def _train_alone(run: StrategyRun) -> None:
    """Train a run in the process that was started for it."""
    _redirect_output(run.folder / OUTPUT)
    _end_with_parent()
    run_main(lambda _: write_json(run.folder / RESULT, train(run)))


def _redirect_output(path: Path) -> None:
    """Append the output of this process and its data workers to a file."""
    with open(path, 'a') as file:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(file.fileno(), stream.fileno())


def _end_with_parent() -> None:
    """End this process when its parent ends, because the parent holds the lock of the run."""
    def listen() -> None:
        wait([multiprocessing.parent_process().sentinel])
        os._exit(1)
    threading.Thread(target=listen, daemon=True).start()


def train(run: StrategyRun) -> dict[str, Any]:
    """Train a run in this process, from its newest checkpoint if any; return its result."""
    # One thread, as in the demo: the same sums in the same order on every machine.
    torch.set_num_threads(1)
    cfg = Config(run.cfg.to_dict())
    if cfg.get('custom_imports'):
        import_modules_from_strings(**cfg.custom_imports)
    launch.set_resume(cfg, 'auto')
    with launch.config_faults():
        runner = launch.build_runner(cfg)
    runner.register_hook(CPUTimeHook(), priority='VERY_LOW')
    runner.train()
    return dict(strategy=run.name, seed=run.seed, digest=run.digest, **_figures(runner))


def _figures(runner: Runner) -> dict[str, Any]:
    """Return cost and scores of a finished training."""
    cfg, hub = runner.cfg, runner.message_hub
    steps = cfg.optim_wrapper.get('accumulative_counts', 1)
    backbone = cfg.model.backbone
    peaks = dict(peak_memory_bytes=peak_memory_bytes())
    if torch.cuda.is_available():
        peaks['peak_cuda_bytes'] = torch.cuda.max_memory_allocated()
    wall, cpu, data = (hub.get_scalar(f'train/{name}').data[0]
                       for name in ('time', 'cpu_time', 'data_time'))
    curve = validation_curve(Path(runner.work_dir), cfg.train_dataloader.batch_size)
    batch = runner.model.data_preprocessor(next(iter(runner.train_dataloader)), training=True)
    saved = TrainingStep(runner.model.train(), runner.optim_wrapper, [batch]).saved()
    return dict(
        mode=backbone.mode, keep_ratio=backbone.keep_ratio,
        mAP=curve[-1]['mAP'], best_mAP=max(point['mAP'] for point in curve), curve=curve,
        saved_backbone_bytes=saved.backbone, saved_model_bytes=saved.model, **peaks,
        seconds_per_update=float(np.median(wall)) * steps,
        cpu_seconds_per_update=float(np.median(cpu)) * steps,
        data_seconds_per_update=float(np.median(data)) * steps,
        training_seconds=float(np.sum(wall)),
        batches=runner.iter, updates=runner.iter // steps,
        samples=runner.iter * cfg.train_dataloader.batch_size,
        trained_parameters=sum(p.numel() for p in runner.model.parameters() if p.requires_grad),
        torch_version=torch.__version__, torch_threads=torch.get_num_threads())


def validation_curve(work_dir: Path, batch_size: int) -> list[dict[str, Any]]:
    """Return every validation of a run: samples seen so far, mAP and all scores.

    Raises:
        ComparisonError: no validation with a mAP was logged.
    """
    curves = read_training_log(work_dir).curves
    main = next((name for name in MAIN_SCORES if name in curves), None)
    if main is None:
        raise ComparisonError(f'{work_dir} logged none of {", ".join(MAIN_SCORES)}; a comparison '
                              'needs a config with val_dataloader and val_evaluator.')
    names = [name for name, (places, _) in curves.items()
             if '/' in name and len(places) == len(curves[main][0])]
    points = {}  # a resumed run may repeat the validation that it resumes from
    for place, iteration in enumerate(curves[main][0]):
        samples = int(iteration) * batch_size
        points[samples] = dict(samples=samples, mAP=float(curves[main][1][place]),
                               scores={name: float(curves[name][1][place]) for name in names})
    return list(points.values())
