"""Process groups of a run, where mmengine or torch would fail.

As in :mod:`sbp_tad.compat`, each workaround quotes the error that it prevents.
"""
from __future__ import annotations

import os
import subprocess
from datetime import timedelta
from typing import Any

from sbp_tad.errors import UserError

# Variables of torchrun, and their names under srun.
SLURM_NAMES = dict(RANK='SLURM_PROCID', WORLD_SIZE='SLURM_NTASKS', LOCAL_RANK='SLURM_LOCALID')


class LauncherError(UserError, ValueError):
    """A launcher that does not work on this machine."""


def use_gloo_without_cuda(cfg: Any) -> None:
    """Cure for ``module 'torch._C' has no attribute '_cuda_setDevice'``.

    With a launcher mmengine always needs CUDA: first for the process group,
    then (``device_ids ... got [0]``) for the model's wrapper. Without CUDA
    this function opens the group with gloo and sets the wrapper in the config.
    Call it before ``Runner.from_cfg``. It does nothing without a launcher.

    Args:
        cfg: an ``mmengine.Config``; ``model_wrapper_cfg`` is set in place.

    Raises:
        LauncherError: a launcher that needs CUDA or has not started this process.
    """
    import torch
    from torch import distributed

    launcher = cfg.get('launcher', 'none')
    if launcher == 'none' or torch.cuda.is_available():
        return
    if launcher == 'slurm':
        read_slurm_environment()
    elif launcher != 'pytorch':
        raise LauncherError(
            f'launcher {launcher!r} needs CUDA; without it start with torchrun and '
            "--launcher pytorch, or with srun and --launcher slurm")
    if not distributed.is_initialized():
        seconds = cfg.get('env_cfg', {}).get('dist_cfg', {}).get('timeout')
        timeout = {} if seconds is None else dict(timeout=timedelta(seconds=seconds))
        distributed.init_process_group('gloo', **timeout, **store_of_attempt())
    wrapper = dict(
        type='MMDistributedDataParallel', broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False))
    wrapper.update(cfg.get('model_wrapper_cfg') or {})
    cfg.model_wrapper_cfg = {**wrapper, 'device_ids': None}


def read_slurm_environment() -> None:
    """Set the environment variables of torchrun in a process of ``srun``.

    ``MASTER_ADDR`` (default: first node of the job) and ``MASTER_PORT``
    (default: 29500) are kept if they are set, as in mmengine.

    Raises:
        LauncherError: srun has not started this process, or its tools are
            missing.
    """
    missing = [name for name in (*SLURM_NAMES.values(), 'SLURM_NODELIST')
               if name not in os.environ]
    if missing:
        raise LauncherError(f'--launcher slurm needs {", ".join(missing)}, which srun sets: start '
                            'with srun, or with torchrun and --launcher pytorch.')
    os.environ.update({name: os.environ[slurm] for name, slurm in SLURM_NAMES.items()})
    os.environ.setdefault('MASTER_PORT', '29500')
    if 'MASTER_ADDR' not in os.environ:
        os.environ['MASTER_ADDR'] = _first_host(os.environ['SLURM_NODELIST'])


def _first_host(node_list: str) -> str:
    try:
        found = subprocess.run(['scontrol', 'show', 'hostnames', node_list], text=True,
                               check=True, stdout=subprocess.PIPE).stdout.split()
        return found[0]
    except (OSError, subprocess.CalledProcessError, IndexError) as error:
        raise LauncherError(f'scontrol cannot find the first host of {node_list}: {error}. Set '
                            'MASTER_ADDR to its name.') from error


def store_of_attempt() -> dict[str, Any]:
    """Cure for ``Gloo connectFullMesh failed ... Connection refused`` after a restart.

    ``torchrun --max-restarts`` of recent torch keeps the store of the
    processes' addresses, so restarted processes find the addresses of ended
    ones. Here each attempt gets its own keys.

    Returns:
        Arguments of ``init_process_group``; none in the first attempt.
    """
    from torch.distributed import PrefixStore, rendezvous

    attempt = os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')
    if attempt == '0':
        return {}
    store, rank, world_size = next(rendezvous('env://'))
    return dict(store=PrefixStore(f'attempt_{attempt}', store), rank=rank, world_size=world_size)


def rejoin_with_cuda(cfg: Any) -> None:
    """Apply :func:`store_of_attempt` with CUDA, where mmengine would open the group."""
    import torch
    from torch import distributed

    if cfg.get('launcher') != 'pytorch' or not torch.cuda.is_available() \
            or distributed.is_initialized():
        return
    if own_store := store_of_attempt():
        options = dict(cfg.get('env_cfg', {}).get('dist_cfg', {}))
        if 'timeout' in options:
            options['timeout'] = timedelta(seconds=options['timeout'])
        torch.cuda.set_device(int(os.environ['LOCAL_RANK']))
        distributed.init_process_group(options.pop('backend', 'nccl'), **options, **own_store)
