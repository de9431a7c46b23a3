"""A toy training in a process of its own, which a test kills."""
import os
import runpy
import sys
from itertools import count
from pathlib import Path

ROOT = Path(__file__).parents[1]
CONFIG = 'configs/toy/actionformer_r3d10_sbp-r4_toy.py'
# Everything that draws or remembers: workers, augmentation, drop path, EMA, AMP, the best score.
OPTIONS = [
    'train_dataloader.batch_size=1', 'train_dataloader.num_workers=1',
    'train_dataloader.persistent_workers=True', 'train_dataloader.dataset.windows_per_video=1',
    'val_dataloader.num_workers=0', 'train_cfg.max_epochs=3', 'train_cfg.val_interval=1',
    'model.neck.drop_path=0.5', 'model.backbone.clips_at_once=2', 'default_hooks.ema.type=EMAHook',
    'default_hooks.checkpoint.max_keep_ckpts=1']
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


def train(data_root: str, work_dir: str, log: str, max_writes: int | None = None) -> None:
    """Train as the command line does; end by SIGKILL before file operation ``max_writes``."""
    os.chdir(ROOT)
    output = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    if max_writes is not None:
        kill_before_operation(work_dir, max_writes)
    data = [f'{loader}.dataset.{option}' for loader in LOADERS for option in (
        f'data_root={data_root}', 'num_frames=16', 'stride_frames=4',
        'pipeline.2.scale=(16,16)')]
    main = runpy.run_path('tools/train.py')['main']
    main([CONFIG, '--work-dir', work_dir, '--resume', '--amp', '--cfg-options', *OPTIONS, *data])


def kill_before_operation(folder: str, number: int) -> None:
    """Kill this process as it opens, renames or removes a file of ``folder`` for that time."""
    operations = count()

    def listen(event: str, details: tuple) -> None:
        if event in ('open', 'os.rename', 'os.remove') and str(details[0]).startswith(folder) \
                and str(details[0]).endswith(('.pth', '.partial', 'last_checkpoint')):
            if next(operations) == number:
                os.kill(os.getpid(), 9)
    sys.addaudithook(listen)
