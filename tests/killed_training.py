"""A toy training in a process of its own, which a test kills."""
import os
import runpy
import signal
import sys
from functools import partial
from itertools import count
from pathlib import Path

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / 'configs/toy/actionformer_r3d10_sbp-r4_toy.py'
# Everything that draws or remembers: workers, augmentation, drop path, EMA, the best score.
OPTIONS = [
    'train_dataloader.batch_size=1', 'train_dataloader.num_workers=1',
    'train_dataloader.persistent_workers=True', 'val_dataloader.num_workers=0',
    'model.neck.drop_path=0.5', 'model.backbone.clips_at_once=2', 'default_hooks.ema.type=EMAHook',
    'default_hooks.checkpoint.max_keep_ckpts=1']
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


def train(data_root: str, work_dir: str, log: str, arguments: list[str], options: list[str],
          kill_at: dict[str, int]) -> None:
    """Train as the command line does, from the last checkpoint on.

    ``kill_at`` ends it by SIGKILL before that ``operation`` on its files, or
    before that ``iteration``, both from 0. As many bytes as there were
    operations go to the file ``operations`` beside the log.
    """
    os.chdir(ROOT)
    output = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    listen_to_files(work_dir, log + '.operations', kill_at.get('operation'))
    kill_before_iteration(kill_at.get('iteration'))
    register_scaled_wrapper()
    data = [f'{loader}.dataset.{option}' for loader in LOADERS for option in (
        f'data_root={data_root}', 'num_frames=16', 'stride_frames=4',
        'pipeline.2.scale=(16,16)')]
    main = runpy.run_path('tools/train.py')['main']
    main([*arguments, '--work-dir', work_dir, '--resume', '--cfg-options', *OPTIONS, *options,
          *data])


def kill_this_process() -> None:
    """End as a machine that fails does."""
    os.kill(os.getpid(), signal.SIGKILL)


def listen_to_files(folder: str, note: str, number: int | None) -> None:
    """Note each time that a checkpoint of ``folder`` is opened, renamed or removed."""
    operations = count()
    noted = os.open(note, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)

    def listen(event: str, details: tuple) -> None:
        if event in ('open', 'os.rename', 'os.remove') and str(details[0]).startswith(folder) \
                and str(details[0]).endswith(('.pth', '.partial', 'last_checkpoint')):
            os.write(noted, b'.')
            if next(operations) == number:
                kill_this_process()
    sys.addaudithook(listen)


def kill_before_iteration(number: int | None) -> None:
    """Kill where the hook under test begins that iteration."""
    from sbp_tad.engine import ExactResumeHook
    begin = ExactResumeHook.before_train_iter

    def kill_or_begin(self: ExactResumeHook, runner: object, *arguments: object,
                      **options: object) -> None:
        if runner.iter == number:
            kill_this_process()
        begin(self, runner, *arguments, **options)
    ExactResumeHook.before_train_iter = kill_or_begin


def register_scaled_wrapper() -> None:
    """mmengine's mixed precision with loss scaling, which it refuses without a GPU, on a CPU.

    With the largest scale that there is, gradients of a loss times 8 overflow:
    a scaler that forgot its state would leave out other updates.
    """
    import torch
    from mmengine.optim import AmpOptimWrapper
    from mmengine.optim.optimizer import amp_optimizer_wrapper

    from sbp_tad.registry import OPTIM_WRAPPERS

    if not hasattr(torch.amp, 'GradScaler'):
        return

    @OPTIM_WRAPPERS.register_module(force=True)
    class ScaledAmpOptimWrapper(AmpOptimWrapper):
        def scale_loss(self, loss: torch.Tensor) -> torch.Tensor:
            return 8 * super().scale_loss(loss)

    amp_optimizer_wrapper.is_cuda_available = lambda: True
    amp_optimizer_wrapper.GradScaler = partial(torch.amp.GradScaler, 'cpu')
