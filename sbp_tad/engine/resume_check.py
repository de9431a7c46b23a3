"""Refusal of a resume that could not continue the training exactly."""
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner

from sbp_tad.datasets.errors import ResumeError
from sbp_tad.engine.config_text import read_config_text
from sbp_tad.engine.exact_resume import ExactResumeHook
from sbp_tad.engine.training_settings import ABSENT, Change, changed_settings, listed
from sbp_tad.provenance import file_sha256
from sbp_tad.registry import HOOKS

FACTS = 'training_facts'


@HOOKS.register_module()
class ResumeCheckHook(Hook):
    """Compare a checkpoint with the run that resumes from it, before anything is restored.

    A checkpoint without the state of optimizer and schedulers is refused, and
    so is a run with another model, data set, loader, optimizer, schedule, seed
    or number of processes.

    Raises:
        ResumeError: the run could not continue exactly.
    """

    priority = 'VERY_HIGH'  # before EMAHook, which restores its average from the checkpoint

    def __init__(self) -> None:
        self._facts: dict[str, Any] = {}

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint from which this run cannot resume."""
        if not runner._resume:
            return
        path = str(runner._load_from or Path(runner.work_dir) / 'last_checkpoint')
        if 'DeepSpeed' not in str(runner.cfg.get('strategy')):  # it keeps that state elsewhere
            check_state(checkpoint, path, bool(runner.cfg.get('param_scheduler')))
        meta = checkpoint['meta']
        changes = [*changed_facts(meta.get(FACTS) or {}, training_facts(runner))]
        if 'cfg' in meta:
            new = read_config_text(runner.cfg.pretty_text)
            changes += changed_settings(read_config_text(meta['cfg']), new)
            changes += changed_seed(meta.get('seed'), new)
        if changes:
            raise ResumeError(refusal(path, changes))
        if note := nothing_left(path, meta, runner.cfg.get('train_cfg') or {}):
            runner.logger.warning(note)
        if not any(isinstance(hook, ExactResumeHook) for hook in runner.hooks):
            runner.logger.warning(
                'The config has no ExactResumeHook: optimizer and schedule continue, but random '
                'draws differ from those of a run that was not interrupted. Train with '
                "default_hooks.exact_resume.type='sbp_tad.ExactResumeHook' to resume exactly.")

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Save facts that the config does not tell."""
        self._facts = self._facts or training_facts(runner)
        checkpoint.setdefault('meta', {})[FACTS] = self._facts


def nothing_left(path: str, meta: Mapping[str, Any], train_cfg: Mapping[str, Any]) -> str | None:
    """Return the sentence for a checkpoint at or beyond the end of the training."""
    for unit, name in (('epoch', 'max_epochs'), ('iter', 'max_iters')):
        end, done = train_cfg.get(name), meta.get(unit)
        if end is not None and done is not None and done >= end:
            return (f'Nothing is left to train: {path} was written after {unit} {done}, and '
                    f'train_cfg.{name} is {end}. Set train_cfg.{name} above {done} to train on.')
    return None


def check_state(checkpoint: Mapping[str, Any], path: str, has_schedulers: bool) -> None:
    """Check that a checkpoint holds the whole state of a training.

    Args:
        checkpoint: content of the file.
        path: of the file, for the message.
        has_schedulers: the run has schedulers of learning rate or momentum.

    Raises:
        ResumeError: a part is missing.
    """
    needed = ['meta', 'message_hub', 'optimizer'] + ['param_schedulers'] * has_schedulers
    missing = [name for name in needed if name not in checkpoint]
    if missing:
        raise ResumeError(
            f'{path} cannot be resumed from: it lacks {", ".join(missing)}. Checkpoints of the '
            'best score (best_*.pth) hold weights alone. Resume from an epoch_*.pth or iter_*.pth '
            'of that run, or start a new run from these weights: leave --resume out and add '
            f'--cfg-options load_from={path}')


def training_facts(runner: Runner) -> dict[str, Any]:
    """Return facts of a run that its config does not tell: processes and training data."""
    dataset = runner.train_dataloader.dataset
    digests = [file_sha256(path)[:16] for path in _annotations(dataset)]
    return {'number of processes': get_world_size(), 'number of training items': len(dataset),
            'digest of the annotation': ' '.join(digests)}


def _annotations(dataset: Any) -> Iterator[str]:
    """Yield the annotation files of a data set and of the data sets that it wraps."""
    path = getattr(dataset, 'ann_file', None)
    if isinstance(path, str) and Path(path).is_file():
        yield path
    inner = getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', None)]
    for one in inner:
        if one is not None:
            yield from _annotations(one)


def changed_facts(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """Compare :func:`training_facts`; a checkpoint of an earlier version has none."""
    return [Change(name, old[name], new.get(name, ABSENT)) for name in old
            if old[name] != new.get(name, ABSENT)]


def changed_seed(old: int | None, new: Mapping[str, Any]) -> list[Change]:
    """Compare the seed of a checkpoint with that of a config; a config without one takes it."""
    seed = (new.get('randomness') or {}).get('seed')
    return [] if None in (old, seed) or old == seed else [Change('randomness.seed', old, seed)]


def refusal(path: str, changes: Sequence[Change]) -> str:
    """Say what differs and what to do."""
    return (f'{path} cannot be resumed exactly by this run, because these settings differ:'
            f'{listed(changes)}\nTake the values of the checkpoint. To train on with the new '
            'values, start a new run from these weights: leave --resume out and add '
            f'--cfg-options load_from={path}')
