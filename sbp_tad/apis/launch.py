"""Make a Runner from a config file and command-line options."""
from __future__ import annotations

import argparse
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.config.utils import ConfigParsingError
from mmengine.dist import init_dist, is_distributed
from mmengine.runner import Runner

from sbp_tad import compat, process_groups
from sbp_tad.apis.config.clip_lists import check_clip_lists
from sbp_tad.apis.config.faults import config_faults
from sbp_tad.apis.config.fields import (
    drop_delete_marks,
    import_custom_modules,
    import_fault,
    warn_of_misspelt_fields,
)
from sbp_tad.apis.config.refusals import (
    check_backends,
    check_generation,
    check_initialization,
    check_model,
    check_phases,
    check_single_videos,
)
from sbp_tad.apis.config.values import check_overrides, prepare_values
from sbp_tad.apis.named_files import (
    check_checkpoint,
    check_output,
    find_config,
    newest_checkpoint,
    resumed_checkpoint,
)
from sbp_tad.engine.resume_check import ResumeCheckHook
from sbp_tad.engine.start_checks import check_before_run
from sbp_tad.errors import ConfigError, UserError
from sbp_tad.registry import RUNNERS

AMP_WRAPPERS = ('OptimWrapper', 'AmpOptimWrapper', 'CpuAmpOptimWrapper',
                'sbp_tad.CpuAmpOptimWrapper')
# What Config.fromfile raises for a file that is no config, or for one with a mistake.
CONFIG_ERRORS = (OSError, SyntaxError, KeyError, TypeError, ValueError, NameError, AttributeError,
                 ImportError, AssertionError, ConfigParsingError)
OWN_HOOKS = ('runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler', 'checkpoint')
WAIT_SECONDS = 7 * 24 * 3600


def read_config(arguments: argparse.Namespace) -> Config:
    """Read the config of a command line, with its overrides and its work dir."""
    os.environ.setdefault('LOCAL_RANK', str(arguments.local_rank))
    cfg = load_config(arguments.config, arguments.cfg_options)
    set_work_dir(cfg, arguments.config, arguments.work_dir)
    return cfg


def load_config(path: str, cfg_options: dict[str, Any] | None = None) -> Config:
    """Read a config of this project or of mmaction and merge ``cfg_options`` into it.

    Args:
        path: path of the config, or the name of a recipe.
        cfg_options: overrides, for example ``{'model.backbone.keep_ratio': 0.5}``.

    Raises:
        ConfigError: the file does not exist, is not a config, is one of mmaction2 0.x, or
            defines no ``model``; an option has an unknown field; a module of
            ``custom_imports`` cannot be imported.
    """
    path = find_config(path)
    try:
        cfg = Config.fromfile(path)
    except UserError:
        raise
    except FileNotFoundError as error:
        raise ConfigError(f'config {path}: {error}. Give the path of an existing config, for '
                          'example configs/toy/..., and check its _base_.') from error
    except ImportError as error:
        raise import_fault(error) from error
    except CONFIG_ERRORS as error:
        raise ConfigError(f'config {path} cannot be read: {error}') from error
    warn_of_misspelt_fields(cfg)
    if cfg_options:
        check_overrides(cfg, cfg_options)
        try:
            cfg.merge_from_dict(cfg_options)
        except (TypeError, KeyError, ValueError, IndexError, AssertionError) as error:
            raise ConfigError(f'--cfg-options cannot be merged into {path}: {error}') from error
        import_custom_modules(cfg.get('custom_imports'))
    drop_delete_marks(cfg)
    check_generation(cfg, path)
    check_model(cfg, path)
    return cfg


def set_work_dir(cfg: Config, config_path: str, work_dir: str | None) -> None:
    """Set the work dir: command line, else config, else ``work_dirs/<name of the config>``.

    Raises:
        ConfigError: it is a file, or cannot be made.
    """
    cfg.work_dir = work_dir or cfg.get('work_dir') or str(
        Path('work_dirs') / Path(config_path).stem)
    check_output('--work-dir' if work_dir else 'work_dir', cfg.work_dir, is_folder=True)


def use_amp(cfg: Config) -> None:
    """Train in mixed precision: float16 with loss scaling on CUDA, bfloat16 on a CPU.

    Raises:
        ConfigError: the optimizer wrapper of the config is not ``OptimWrapper``.
    """
    current = cfg.optim_wrapper.get('type', 'OptimWrapper')
    if current not in AMP_WRAPPERS:
        raise ConfigError(f'--amp needs an optim_wrapper of type OptimWrapper, got {current!r}; '
                          'leave --amp out and set the precision in the config.')
    if torch.cuda.is_available():
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')
    else:
        cfg.optim_wrapper.type = 'sbp_tad.CpuAmpOptimWrapper'
        cfg.optim_wrapper.pop('loss_scale', None)


def use_cpu_amp_without_cuda(cfg: Config) -> None:
    """Replace ``AmpOptimWrapper``, which mmengine refuses on a CPU, by one that works there."""
    wrapper = cfg.get('optim_wrapper') or {}
    if wrapper.get('type') == 'AmpOptimWrapper' and not torch.cuda.is_available():
        use_amp(cfg)


def skip_validation(cfg: Config) -> None:
    """Train without validation, hence without a best checkpoint."""
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    checkpoint = cfg.get('default_hooks', {}).get('checkpoint')
    if checkpoint:
        checkpoint.save_best = None


def set_resume(cfg: Config, resume: str | None) -> None:
    """Resume from the newest checkpoint of the work dir (``'auto'``), of a folder, or from a file.

    Without an option, ``resume`` and ``load_from`` of the config decide. A run
    that was killed before its first checkpoint starts again, from the weights
    that its config loads.

    Raises:
        ConfigError: the checkpoint does not exist.
    """
    if resume is None and cfg.get('resume'):
        resume = cfg.get('load_from') or 'auto'
    if resume is None:
        return
    if resume == 'auto':
        resume = newest_checkpoint(cfg.work_dir)
    else:
        resume = resumed_checkpoint(resume)
    cfg.resume = resume is not None
    cfg.load_from = resume or cfg.get('load_from')


def set_epochs(cfg: Config, epochs: int) -> None:
    """Set the number of epochs and stretch the learning rate schedule to it.

    Raises:
        ConfigError: the number is below 1, or the config counts iterations.
    """
    if epochs < 1 or 'max_epochs' not in cfg.train_cfg:
        raise ConfigError(f'the number of epochs must be at least 1, got {epochs}, and the config '
                          'must train by epochs.')
    before = cfg.train_cfg.max_epochs
    cfg.train_cfg.max_epochs = epochs
    cfg.train_cfg.val_interval = min(cfg.train_cfg.get('val_interval', 1), epochs)
    for scheduler in cfg.param_scheduler:
        if scheduler.get('end') == before and scheduler.begin < epochs:
            scheduler.end = epochs
            scheduler.T_max = epochs - scheduler.begin


def set_checkpoint(cfg: Config, checkpoint: str) -> None:
    """Load these weights before testing.

    Raises:
        ConfigError: the file does not exist.
    """
    check_checkpoint(checkpoint)
    cfg.load_from = checkpoint
    cfg.resume = False


def set_randomness(cfg: Config, seed: int | None, diff_rank_seed: bool = False,
                   deterministic: bool = False) -> None:
    """Override the randomness settings of the config by those of the command line.

    A config without ``randomness``, or without a seed, draws a new seed in
    each run, as in mmengine.
    """
    chosen = dict(diff_rank_seed=diff_rank_seed, deterministic=deterministic)
    cfg.randomness = {'seed': None, **(cfg.get('randomness') or {}),
                      **{name: value for name, value in chosen.items() if value}}
    if seed is not None:
        cfg.randomness.seed = seed
    if cfg.randomness.get('deterministic'):  # cuBLAS needs it before CUDA starts
        os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')


def scale_learning_rate(cfg: Config) -> None:
    """Scale the learning rate by the real batch size divided by ``base_batch_size``.

    Raises:
        ConfigError: the config has no ``auto_scale_lr.base_batch_size``.
    """
    if 'base_batch_size' not in (cfg.get('auto_scale_lr') or {}):
        raise ConfigError('--auto-scale-lr needs auto_scale_lr = dict(base_batch_size=...) in '
                          'the config.')
    cfg.auto_scale_lr.enable = True


def check_run(cfg: Config, phase: str) -> None:
    """Refuse what cannot train, or test, before anything is built.

    Args:
        cfg: whole config.
        phase: 'train' or 'test'.

    Raises:
        ConfigError: the key of the config, what it holds, and what to do.
    """
    check_phases(cfg, phase)
    check_backends(cfg)
    check_single_videos(cfg)
    if phase == 'train':
        check_initialization(cfg)
    check_clip_lists(cfg, phase)


def drop_absent_hooks(cfg: Config) -> None:
    """Leave out hooks that the config sets to None; mmengine accepts None for its own hooks only.
    """
    hooks = cfg.get('default_hooks') or {}
    for name in [name for name, hook in hooks.items() if hook is None and name not in OWN_HOOKS]:
        del hooks[name]


def build_runner(cfg: Config, launcher: str = 'none') -> Runner:
    """Build the Runner of a config, on the available devices.

    Raises:
        ConfigError: a component does not exist or does not accept its options, or
            an option of a loader cannot work.
        LauncherError: the launcher does not work on this machine.
    """
    cfg.launcher = launcher
    cfg.default_scope = cfg.get('default_scope') or 'sbp_tad'  # finds mmaction's types as well
    check_strategy(cfg)
    prepare_values(cfg)
    process_groups.use_gloo_without_cuda(cfg)
    process_groups.rejoin_with_cuda(cfg)
    compat.use_plain_collate(cfg)
    use_cpu_amp_without_cuda(cfg)
    drop_absent_hooks(cfg)
    with config_faults(cfg):
        runner = RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
    check_before_run(runner)
    if not any(isinstance(hook, ResumeCheckHook) for hook in runner.hooks):
        runner.register_hook(ResumeCheckHook())
    return runner


def check_strategy(cfg: Config) -> None:
    """Refuse a strategy of mmengine's FlexibleRunner that cannot work, before data are read.

    Raises:
        ConfigError: FSDP of mmengine, or DeepSpeed without the package ``deepspeed``.
    """
    strategy = str((cfg.get('strategy') or {}).get('type')).rpartition('.')[2]
    if strategy == 'FSDPStrategy':
        raise ConfigError(
            'FSDPStrategy does not work with these models. It needs parameters with the same name '
            'in the model and in checkpoints, but SBPBackbone writes the names of mmaction; and it '
            'refuses scalar parameters, which ActionFormer has. Remove runner_type and strategy, '
            'and train with DDP (torchrun and --launcher pytorch); SBP keeps its memory small.')
    if strategy == 'DeepSpeedStrategy' and find_spec('deepspeed') is None:
        raise ConfigError('DeepSpeedStrategy needs the package deepspeed, which is not installed. '
                          'Install it, or remove runner_type and strategy.')


def start_processes(cfg: Config, launcher: str) -> None:
    """Join the other processes of a launcher, on gloo without CUDA.

    The processes exchange only their reports at the end. The first to finish
    waits for the others: ``dist_cfg.timeout`` of the config, by default one week.
    """
    cfg.launcher = launcher
    options = {'timeout': WAIT_SECONDS, **cfg.get('env_cfg', {}).get('dist_cfg', {})}
    cfg.env_cfg = {**cfg.get('env_cfg', {}), 'dist_cfg': options}
    process_groups.use_gloo_without_cuda(cfg)
    process_groups.rejoin_with_cuda(cfg)
    if launcher != 'none' and torch.cuda.is_available() and not is_distributed():
        init_dist(launcher, **options)
