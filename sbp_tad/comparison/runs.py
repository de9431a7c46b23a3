"""Runs of a comparison: which there are, which are finished, and who works at one."""
from __future__ import annotations

import copy
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mmengine.config import Config

from sbp_tad.apis.launch import set_randomness
from sbp_tad.comparison.errors import ComparisonError, RunHeldError
from sbp_tad.comparison.specs import StrategyChoice, apply_strategy
from sbp_tad.engine.atomic_checkpoints import write_atomically
from sbp_tad.provenance import file_sha256

RESULT, DESCRIPTION = 'result.json', 'run.json'
# What does not change the trained weights and their score.
WITHOUT_EFFECT = ('work_dir', 'launcher', 'log_level', 'log_processor', 'visualizer',
                  'vis_backends', 'test_cfg', 'test_dataloader', 'test_evaluator')


@dataclass(frozen=True)
class StrategyRun:
    """One training: a strategy and a seed.

    Args:
        name: of the strategy.
        seed: of everything that is drawn.
        cfg: complete, its ``work_dir`` included.
    """

    name: str
    seed: int
    cfg: Config

    @property
    def folder(self) -> Path:
        """Where everything of the run goes."""
        return Path(self.cfg.work_dir)

    @property
    def title(self) -> str:
        """In words."""
        return f'{self.name}, seed {self.seed}'

    @cached_property
    def digest(self) -> str:
        """The same for equal configs."""
        return config_digest(self.cfg)

    def result(self) -> dict[str, Any] | None:
        """Of the finished run; None if it is not finished, or was of another config."""
        found = read_json(self.folder / RESULT)
        return found if found and found['digest'] == self.digest else None


def plan_runs(cfg: Config, choices: Sequence[StrategyChoice], num_seeds: int, work_dir: str | Path
              ) -> list[StrategyRun]:
    """All runs, seed by seed, so that a part of them is already a comparison.

    Raises:
        ComparisonError: less than one seed, or the config cannot have a strategy.
    """
    if num_seeds < 1:
        raise ComparisonError(f'a comparison needs at least 1 seed, got {num_seeds}.')
    configs = [apply_strategy(cfg, choice) for choice in choices]
    return [_plan_run(own, choice, seed, Path(work_dir))
            for seed in range(num_seeds) for own, choice in zip(configs, choices)]


def _plan_run(cfg: Config, choice: StrategyChoice, seed: int, work_dir: Path) -> StrategyRun:
    cfg = copy.deepcopy(cfg)
    cfg.work_dir = str(work_dir / choice.folder / f'seed_{seed}')
    set_randomness(cfg, seed)
    # The last weights are those whose score is told, so the best are not kept.
    checkpoint = cfg.get('default_hooks', {}).get('checkpoint')
    if checkpoint:
        checkpoint.update(max_keep_ckpts=1, save_best=None)
    return StrategyRun(choice.name, seed, cfg)


def config_digest(cfg: Config) -> str:
    """SHA-256 of what of a config has an effect, weights that it loads included."""
    relevant = {key: value for key, value in cfg.to_dict().items() if key not in WITHOUT_EFFECT}
    weights = {path: file_sha256(path) for path in weight_files(relevant) if Path(path).is_file()}
    text = json.dumps([relevant, weights], sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()


def weight_files(node: Any) -> list[str]:
    """Paths of the checkpoints that a config names, without addresses of the network."""
    if isinstance(node, dict):
        node = list(node.values())
    if isinstance(node, (list, tuple)):
        return sorted({path for child in node for path in weight_files(child)})
    is_path = isinstance(node, str) and node.endswith(('.pth', '.pt')) and '://' not in node
    return [node] if is_path else []


def read_json(path: Path) -> Any:
    """What a file of this comparison holds; None if there is none.

    Raises:
        ComparisonError: it was not written by a comparison.
    """
    try:
        return json.loads(path.read_text(encoding='utf-8'))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ComparisonError(f'{path} cannot be read: {error}. Remove it, and the run is '
                              'repeated.') from error


def write_json(path: Path, content: Any) -> None:
    """Write a file in one step."""
    write_atomically(path, (json.dumps(content, indent=1) + '\n').encode())


def prepare_folder(run: StrategyRun) -> None:
    """Make the folder of a run, and put that of another config aside.

    What an interrupted run of the same config left stays, to be resumed.
    """
    begun = read_json(run.folder / DESCRIPTION)
    if run.folder.exists() and (begun is None or begun['digest'] != run.digest):
        run.folder.rename(_free_name(run.folder))
    run.folder.mkdir(parents=True, exist_ok=True)
    write_json(run.folder / DESCRIPTION, dict(strategy=run.name, seed=run.seed, digest=run.digest,
                                              config=run.cfg.to_dict()))


def _free_name(folder: Path) -> Path:
    number = 1
    while (aside := folder.with_name(f'{folder.name}.old{number}')).exists():
        number += 1
    return aside


@contextmanager
def hold(path: Path, title: str) -> Iterator[None]:
    """Keep other processes from a piece of work, by a lock on a file beside what it writes.

    The file tells the process' number. The system lifts the lock with the end
    of the process, however it ends, so that a lock is never stale.

    Args:
        path: that the work writes.
        title: of the work.

    Raises:
        RunHeldError: another process holds it.
    """
    path = path.with_name(path.name + '.lock')
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, 'a+', encoding='utf-8') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise RunHeldError(f'{title}: process {file.read().strip() or "?"} works at '
                               'it.') from error
        file.truncate(0)
        file.write(f'{os.getpid()}\n')
        file.flush()
        yield
        file.truncate(0)
