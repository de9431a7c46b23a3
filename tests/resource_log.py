"""A hook that notes memory and open files of a training and its workers as it goes on."""
from __future__ import annotations

import gc
import json
import os
from pathlib import Path

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from sbp_tad.registry import HOOKS


def resources(pid: int) -> dict[str, int]:
    """Memory that a process alone holds, KiB, resident memory, KiB, and its open files."""
    lines = Path(f'/proc/{pid}/smaps_rollup').read_text().splitlines()[1:]
    kib = {name: int(value.split()[0]) for name, value in (line.split(':') for line in lines)}
    return dict(private_kib=kib['Private_Clean'] + kib['Private_Dirty'], resident_kib=kib['Rss'],
                open_files=len(os.listdir(f'/proc/{pid}/fd')))


def children() -> list[int]:
    """The living child processes, in the order of their numbers."""
    found = (path.read_text().split() for path in Path('/proc/self/task').glob('*/children'))
    return sorted(int(pid) for pids in found for pid in pids)


def num_tensors() -> int:
    """Tensors that this process holds."""
    gc.collect()
    return sum(issubclass(type(held), torch.Tensor) for held in gc.get_objects())


@HOOKS.register_module()
class ResourceLog(Hook):
    """Append a JSON line ``{iteration, tensors, main, workers}`` to ``path`` every ``interval``."""

    priority = 'LOWEST'

    def __init__(self, path: str, interval: int) -> None:
        self.path, self.interval = Path(path), interval

    def after_train_iter(self, runner: Runner, *arguments: object, **options: object) -> None:
        """Note where an interval ends."""
        if self.every_n_train_iters(runner, self.interval):
            row = dict(iteration=runner.iter + 1, tensors=num_tensors(),
                       main=resources(os.getpid()),
                       workers=[resources(pid) for pid in children()])
            with open(self.path, 'a') as file:
                file.write(json.dumps(row) + '\n')
