"""Runs of a comparison: their plan, their folders and locks between processes."""
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
from sbp_tad.comparison.specs import ComparedStrategy
from sbp_tad.comparison.strategy_configs import apply_strategy
from sbp_tad.engine.atomic_checkpoints import write_atomically
from sbp_tad.provenance import file_sha256

RESULT, DESCRIPTION = 'result.json', 'run.json'
# Config entries that change neither the trained weights nor their score.
WITHOUT_EFFECT = ('work_dir', 'launcher', 'log_level', 'log_processor', 'visualizer',
                  'vis_backends', 'test_cfg', 'test_dataloader', 'test_evaluator')


@dataclass(frozen=True)
class StrategyRun:
    """One training: a strategy and a seed.

    Args:
        name: of the strategy.
        seed: of all random draws.
        cfg: complete, its ``work_dir`` included.
    """

    name: str
    seed: int
    cfg: Config

    @property
    def folder(self) -> Path:
        """Folder of all files of the run."""
        return Path(self.cfg.work_dir)

    @property
    def title(self) -> str:
        """Name for messages."""
        return f'{self.name}, seed {self.seed}'

    @cached_property
    def digest(self) -> str:
        """Digest of the config, see :func:`config_digest`."""
        return config_digest(self.cfg)

    def result(self) -> dict[str, Any] | None:
        """Return the result; None if the run is not finished or had another config."""
        found = read_json(self.folder / RESULT)
        return found if found and found['digest'] == self.digest else None


def plan_runs(cfg: Config, strategies: Sequence[ComparedStrategy], num_seeds: int,
              work_dir: str | Path) -> list[StrategyRun]:
    """Return all runs, seed by seed, so that the first seed alone is already a comparison.

    Raises:
        ComparisonError: less than one seed, or the config cannot be trained by a strategy.
    """
    if num_seeds < 1:
        raise ComparisonError(f'--seeds must be at least 1, got {num_seeds}.')
    configs = [apply_strategy(cfg, strategy) for strategy in strategies]
    return [_plan_run(own, strategy, seed, Path(work_dir))
            for seed in range(num_seeds) for own, strategy in zip(configs, strategies)]


def _plan_run(cfg: Config, strategy: ComparedStrategy, seed: int, work_dir: Path) -> StrategyRun:
    cfg = copy.deepcopy(cfg)
    cfg.work_dir = str(work_dir / strategy.folder / f'seed_{seed}')
    set_randomness(cfg, seed)
    # The comparison reports the score of the last weights, so the best are not kept.
    checkpoint = cfg.get('default_hooks', {}).get('checkpoint')
    if checkpoint:
        checkpoint.update(max_keep_ckpts=1, save_best=None)
    return StrategyRun(strategy.name, seed, cfg)


def config_digest(cfg: Config) -> str:
    """Return the SHA-256 of the entries that affect a result, and of the weights they load."""
    relevant = {key: value for key, value in cfg.to_dict().items() if key not in WITHOUT_EFFECT}
    weights = {path: file_sha256(path) for path in weight_files(relevant) if Path(path).is_file()}
    text = json.dumps([relevant, weights], sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()


def weight_files(node: Any) -> list[str]:
    """Return the paths of the checkpoints that a config names, without URLs."""
    if isinstance(node, dict):
        node = list(node.values())
    if isinstance(node, (list, tuple)):
        return sorted({path for child in node for path in weight_files(child)})
    is_path = isinstance(node, str) and node.endswith(('.pth', '.pt')) and '://' not in node
    return [node] if is_path else []


def read_json(path: Path) -> Any:
    """Read a JSON file of a comparison; None if it does not exist.

    Raises:
        ComparisonError: it cannot be read or is no JSON.
    """
    try:
        return json.loads(path.read_text(encoding='utf-8'))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ComparisonError(f'{path} cannot be read: {error}. Remove it to repeat the '
                              'run.') from error


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file atomically."""
    write_atomically(path, (json.dumps(content, indent=1) + '\n').encode())


def prepare_folder(run: StrategyRun) -> None:
    """Make the folder of a run; rename an existing folder of another config.

    Files of an interrupted run with the same config stay, so that it is resumed.
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
    """Hold a lock on a piece of work, so that no other process does it at the same time.

    The lock file is beside the output and holds the process ID. The system releases the lock
    when the process ends, however it ends, so that a lock is never stale.

    Args:
        path: output of the work.
        title: of the work, for messages.

    Raises:
        RunHeldError: another process holds the lock.
    """
    path = path.with_name(path.name + '.lock')
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, 'a+', encoding='utf-8') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise RunHeldError(f'{title}: process {file.read().strip() or "?"} is working '
                               'on it.') from error
        file.truncate(0)
        file.write(f'{os.getpid()}\n')
        file.flush()
        yield
        file.truncate(0)
