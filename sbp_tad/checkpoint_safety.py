"""Checkpoints are read as weights and numbers alone; a pickle of more is refused.

Above the functions only the standard library is imported, as in
:mod:`sbp_tad.compat`, which calls :func:`guard_checkpoint_loading`.
"""
from __future__ import annotations

import argparse
import functools
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pickle import UnpicklingError
from typing import Any

from sbp_tad.errors import UserError

# torch's own switches: the one opens every load that names no choice, the other closes all.
TRUST_VARIABLE = 'TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD'
REFUSE_VARIABLE = 'TORCH_FORCE_WEIGHTS_ONLY_LOAD'


class CheckpointError(UserError, ValueError):
    """A checkpoint is no checkpoint, or not one of this model."""


class UntrustedCheckpointError(CheckpointError, UnpicklingError):
    """A file holds more than weights and numbers, such as objects that could run code."""


class TrustCheckpoints(argparse.Action):
    """The option ``--trust-checkpoint``, for this process and those it starts."""

    def __init__(self, option_strings: Sequence[str], dest: str, **options: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, default=False, help=(
            'also load a checkpoint whose pickle may run code; only for files of people you '
            'trust'))

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace,
                 values: Any, option_string: str | None = None) -> None:
        """Set torch's switch."""
        os.environ[TRUST_VARIABLE] = '1'
        setattr(namespace, self.dest, True)


def is_trusting() -> bool:
    """Whether the user has opted in to pickles, by the option or torch's variable."""
    return os.environ.get(TRUST_VARIABLE, '0').lower() in ('1', 'y', 'yes', 'true')


@contextmanager
def weights_only(name: str | os.PathLike) -> Iterator[None]:
    """Let ``torch.load`` within this context take weights and numbers alone.

    Whatever the default of the installed torch, and whoever calls it. Before
    2.4 torch cannot be told that mmengine's history objects are harmless;
    there files are trusted, as mmengine trusts them.

    Args:
        name: of the file, for the message.

    Raises:
        UntrustedCheckpointError: the file holds more than that.
    """
    import torch

    before = os.environ.get(REFUSE_VARIABLE)
    if hasattr(torch.serialization, 'add_safe_globals') and not is_trusting():
        os.environ[REFUSE_VARIABLE] = '1'
    try:
        with warnings.catch_warnings():  # of torch, that its switch is on: the user has set it
            warnings.filterwarnings('ignore', f'Environment variable {TRUST_VARIABLE} detected')
            yield
    except UntrustedCheckpointError:
        raise
    except UnpicklingError as error:
        raise UntrustedCheckpointError(
            f'{name}: not a checkpoint, or one that holds more than weights, numbers and history '
            f'and would run code when it is read ({_reason(error)}). Give one that tools/train.py '
            'wrote, or save its state_dict alone; if you trust whoever wrote it, use '
            f'--trust-checkpoint or set {TRUST_VARIABLE}=1.') from error
    finally:
        os.environ.pop(REFUSE_VARIABLE, None)
        if before is not None:
            os.environ[REFUSE_VARIABLE] = before


def without_code(checkpoint: Any) -> Any:
    """The checkpoint without the config in ``meta``, whose Python text mmengine runs to resume.

    It asks that config of older versions only for how many GPUs there were.
    """
    meta = checkpoint.get('meta') if isinstance(checkpoint, dict) else None
    if isinstance(meta, dict):
        meta.pop('config', None)
    return checkpoint


def guard_checkpoint_loading() -> None:
    """Every way in which mmengine loads a checkpoint goes through :func:`weights_only`.

    Resuming, ``load_from``, ``init_cfg`` and testing; files, addresses and
    other storage. What it holds is not run either, see :func:`without_code`.
    """
    from mmengine.runner.checkpoint import CheckpointLoader

    load = CheckpointLoader.load_checkpoint
    if hasattr(load, '__wrapped__'):
        return

    @functools.wraps(load)
    def load_safely(filename: str, *args: Any, **options: Any) -> Any:
        with weights_only(filename):
            checkpoint = load(filename, *args, **options)
        return checkpoint if is_trusting() else without_code(checkpoint)

    CheckpointLoader.load_checkpoint = staticmethod(load_safely)


def _reason(error: Exception) -> str:
    """The line of torch's message that names the object."""
    lines = [line.strip() for line in str(error).split('\n') if line.strip()]
    named = next((line for line in lines if 'Unsupported' in line or 'GLOBAL' in line), lines[0])
    return named.split('. ')[0][:120]
