"""Safe loading of checkpoints: weights and numbers only, no other pickled objects.

At module level only the standard library is imported, as in
:mod:`sbp_tad.compat`, which calls :func:`guard_checkpoint_loading`.
"""
from __future__ import annotations

import argparse
import errno
import functools
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pickle import UnpicklingError
from typing import Any

from sbp_tad.errors import UserError

# torch's own switches: the first allows all pickles by default, the second refuses them always.
TRUST_VARIABLE = 'TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD'
REFUSE_VARIABLE = 'TORCH_FORCE_WEIGHTS_ONLY_LOAD'


# torch's messages about a damaged file, or about one of another kind.
DAMAGED = ('PytorchStreamReader', 'Invalid magic number', 'unexpected EOF', 'corrupted',
           'not a ZIP archive')


class CheckpointError(UserError, ValueError):
    """A file that is not a checkpoint, or a checkpoint of another model."""


class UntrustedCheckpointError(CheckpointError, UnpicklingError):
    """A file with more than weights and numbers, which could run code."""


class TrustCheckpoints(argparse.Action):
    """Option ``--trust-checkpoint``, for this process and its child processes."""

    def __init__(self, option_strings: Sequence[str], dest: str, **options: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, default=False, help=(
            'also load a checkpoint whose pickle may run code; use it only for files from '
            'people you trust'))

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace,
                 values: Any, option_string: str | None = None) -> None:
        """Set torch's switch."""
        os.environ[TRUST_VARIABLE] = '1'
        setattr(namespace, self.dest, True)


def is_trusting() -> bool:
    """Return True if the user allows pickles, with the option or torch's variable."""
    return os.environ.get(TRUST_VARIABLE, '0').lower() in ('1', 'y', 'yes', 'true')


@contextmanager
def weights_only(name: str | os.PathLike) -> Iterator[None]:
    """Restrict ``torch.load`` within this context to weights and numbers.

    This holds for every caller and every default of the installed torch.
    torch before 2.4 cannot accept mmengine's history objects as safe; there
    files are trusted, as in mmengine.

    Args:
        name: name of the file, for the message.

    Raises:
        CheckpointError: the file is damaged or empty.
        UntrustedCheckpointError: the file holds other objects.
    """
    import torch

    before = os.environ.get(REFUSE_VARIABLE)
    if hasattr(torch.serialization, 'add_safe_globals') and not is_trusting():
        os.environ[REFUSE_VARIABLE] = '1'
    try:
        with warnings.catch_warnings():  # torch warns that its switch is on, which the user has set
            warnings.filterwarnings('ignore', f'Environment variable {TRUST_VARIABLE} detected')
            yield
    except UntrustedCheckpointError:
        raise
    except (RuntimeError, EOFError, KeyError, OSError) as error:
        if not _is_damage(error):
            raise
        reason = str(error).strip().split('\n')[0][:200] or 'it is empty'
        raise CheckpointError(f'{name}: not a readable checkpoint ({reason}). Give one that '
                              'tools/train.py wrote.') from error
    except UnpicklingError as error:
        raise UntrustedCheckpointError(
            f'{name}: not a checkpoint, or one that holds more than weights, numbers and history '
            f'and could run code when it is read ({_reason(error)}). Use a checkpoint of '
            'tools/train.py, or save its state_dict alone. If you trust its author, use '
            f'--trust-checkpoint or set {TRUST_VARIABLE}=1.') from error
    finally:
        os.environ.pop(REFUSE_VARIABLE, None)
        if before is not None:
            os.environ[REFUSE_VARIABLE] = before


def without_code(checkpoint: Any) -> Any:
    """Remove the config in ``meta``, whose Python text mmengine executes to resume.

    mmengine reads only the number of GPUs from the config of older versions.
    """
    meta = checkpoint.get('meta') if isinstance(checkpoint, dict) else None
    if isinstance(meta, dict):
        meta.pop('config', None)
    return checkpoint


def guard_checkpoint_loading() -> None:
    """Apply :func:`weights_only` to every checkpoint that mmengine loads.

    This includes resuming, ``load_from``, ``init_cfg`` and testing, and files,
    URLs and other storage. The config inside is removed, see
    :func:`without_code`.
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


def _is_damage(error: Exception) -> bool:
    """Return whether torch says that a file is damaged; other errors are not about the file."""
    if isinstance(error, OSError):
        return error.errno == errno.EINVAL  # an offset before the start of the file
    if isinstance(error, KeyError):
        return isinstance(error.args[0], int)  # an opcode that pickle does not have
    return isinstance(error, EOFError) or any(text in str(error) for text in DAMAGED)


def _reason(error: Exception) -> str:
    """Return the line of torch's message that names the object."""
    lines = [line.strip() for line in str(error).split('\n') if line.strip()]
    named = next((line for line in lines if 'Unsupported' in line or 'GLOBAL' in line), lines[0])
    return named.split('. ')[0][:120]
