"""Atomic writing of checkpoints: a killed run never leaves a damaged one."""
from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from sbp_tad.errors import ConfigError
from sbp_tad.registry import HOOKS

PARTIAL_SUFFIX = '.partial'
BEST_LINK = 'best.pth'


def write_atomically(path: str | Path, content: bytes) -> None:
    """Write ``content`` atomically (temporary file, fsync, rename)."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + PARTIAL_SUFFIX)
    with open(partial, 'wb') as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def link_atomically(link: Path, target: Path) -> None:
    """Let ``link`` name ``target``, a file or folder beside it, atomically.

    The link is relative, so the folder can be moved. Where the file system
    has no symbolic links, ``link`` becomes a copy of the file.
    """
    partial = link.with_name(link.name + PARTIAL_SUFFIX)
    partial.unlink(missing_ok=True)
    try:
        partial.symlink_to(target.name)
    except (OSError, NotImplementedError):
        if target.is_file():
            write_atomically(link, target.read_bytes())
        return
    os.replace(partial, link)


class AtomicLocalBackend(LocalBackend):
    """Local storage of mmengine that writes atomically; ``backend_args=dict(backend='atomic')``."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write a file atomically."""
        write_atomically(filepath, obj)


register_backend('atomic', AtomicLocalBackend, force=True)


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """``CheckpointHook`` with atomic writes; old checkpoints are removed after the new one exists.

    ``last_checkpoint`` always names a complete file. mmengine's own hook
    removes old checkpoints before it writes the new one, so a run that is
    killed between may have none.

    ``best.pth`` beside the checkpoints names the best one: that of the first
    metric of ``save_best``, and of the newest run that trained in this folder.

    Args:
        args, kwargs: arguments of ``CheckpointHook``.
        backend_args: storage other than the local disk.
    """

    def __init__(self, *args: Any, backend_args: dict | None = None, **kwargs: Any) -> None:
        super().__init__(*args, backend_args=backend_args or dict(backend='atomic'), **kwargs)

    def before_train(self, runner: Runner) -> None:
        """Forget the best checkpoints of another work dir; finish what a killed run left."""
        super().before_train(runner)
        if not self._is_own(getattr(self, 'best_ckpt_path', None)):
            self.best_ckpt_path = None
        for name, path in getattr(self, 'best_ckpt_path_dict', {}).items():
            if not self._is_own(path):
                self.best_ckpt_path_dict[name] = None
        if is_main_process() and Path(self.out_dir).is_dir():
            for partial in Path(self.out_dir).glob(f'*{PARTIAL_SUFFIX}'):
                partial.unlink()
        self._link_best()

    def _is_own(self, path: str | None) -> bool:
        return path is None or Path(path).parent.resolve() == Path(self.out_dir).resolve()

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        """Write the checkpoint, then ``last_checkpoint``, then remove the outdated checkpoint."""
        outdated = self._note_step(runner, step)
        filename = self.filename_tmpl.format(step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, filename)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        runner.save_checkpoint(
            self.out_dir, filename, self.file_client_args, save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler, meta=meta, by_epoch=self.by_epoch,
            backend_args=self.backend_args, **self.args)
        if is_main_process():
            write_atomically(Path(runner.work_dir) / 'last_checkpoint', self.last_ckpt.encode())
            if outdated is not None:
                self._remove(self.file_backend.join_path(
                    self.out_dir, self.filename_tmpl.format(outdated)))

    def _note_step(self, runner: Runner, step: int) -> int | None:
        """Add the step to the kept ones; return the step that it replaces, if any."""
        if self.max_keep_ckpts <= 0 or step in self.keep_ckpt_ids:
            return None
        is_full = len(self.keep_ckpt_ids) == self.max_keep_ckpts
        outdated = self.keep_ckpt_ids.popleft() if is_full else None
        self.keep_ckpt_ids.append(step)
        runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
        return outdated

    def _save_best_checkpoint(self, runner: Runner, metrics: dict[str, float]) -> None:
        """Save the best checkpoint, then remove the former one.

        Raises:
            ConfigError: ``save_best`` names a metric that the validation does not give.
        """
        unknown = set(self.key_indicators) - {'auto', *metrics} if self.save_best else set()
        if metrics and unknown:
            raise ConfigError(
                f'default_hooks.checkpoint.save_best names {", ".join(sorted(unknown))}, but the '
                f'validation gives {", ".join(metrics)}. Set save_best to one of these.')
        if not self.save_best or len(self.key_indicators) > 1:
            super()._save_best_checkpoint(runner, metrics)
            self._link_best()
            return
        former, self.best_ckpt_path = self.best_ckpt_path, None
        super()._save_best_checkpoint(runner, metrics)
        if self.best_ckpt_path is None:
            self.best_ckpt_path = former
            return
        self._link_best()
        if former not in (None, self.best_ckpt_path) and is_main_process():
            self._remove(former)

    def _link_best(self) -> None:
        """Let ``best.pth`` name the best checkpoint of this run, once it has one."""
        if not self.save_best or not is_main_process():
            return
        best = self.best_ckpt_path if len(self.key_indicators) == 1 \
            else self.best_ckpt_path_dict.get(self.key_indicators[0])
        if best and isinstance(self.file_backend, LocalBackend) and Path(best).exists():
            link_atomically(Path(best).with_name(BEST_LINK), Path(best))

    def _remove(self, path: str) -> None:
        """Remove a checkpoint: a file, or a folder of DeepSpeed."""
        if self.file_backend.isdir(path):
            self.file_backend.rmtree(path)
        elif self.file_backend.isfile(path):
            self.file_backend.remove(path)
