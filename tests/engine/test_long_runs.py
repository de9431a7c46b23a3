"""A long training, with validations and checkpoints, leaves memory and open files flat."""
import json
import multiprocessing
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from killed_training import CONFIG, train
from processes import start_method

from sbp_tad.datasets.toy_videos import ToySettings, build_toy_dataset

IS_LONG = 'LONG_RUN' in os.environ  # `make test-long`
EPOCHS, EPOCH_ITERATIONS = (40, 50) if IS_LONG else (6, 20)
# Until then a run settles: the allocator, the first validations, the first checkpoints.
SETTLED = EPOCHS * EPOCH_ITERATIONS // 2
# A batch of frames is 48 KiB, what a step saves for backward a MiB. The training log keeps 0.2 KiB,
# and the C library takes some more for what is given back to it in pieces.
KIB_PER_ITERATION = 16.0 if IS_LONG else 60.0
CONFIG_TEXT = f'''
_base_ = {str(CONFIG)!r}
custom_imports = dict(imports=['sbp_tad', 'resource_log'])
custom_hooks = [dict(type='ResourceLog', path={{path!r}}, interval={EPOCH_ITERATIONS})]
train_dataloader = dict(num_workers=2, dataset=dict(windows_per_video={EPOCH_ITERATIONS // 2}))
val_dataloader = dict(num_workers=1)
train_cfg = dict(max_epochs={EPOCHS}, val_interval=1)
'''


def slope(iterations: list[int], values: list[float]) -> float:
    """By how much the values grow each iteration, by least squares."""
    return float(np.polyfit(iterations, values, 1)[0])


def long_training(folder: Path) -> list[dict]:
    """Train in a process of its own; what its :class:`ResourceLog` has noted."""
    build_toy_dataset(folder / 'toy', ToySettings(train_videos=2, test_videos=1, size=32))
    config, noted, log = (folder / name for name in ('config.py', 'resources.jsonl', 'log'))
    config.write_text(CONFIG_TEXT.format(path=str(noted)))
    process = multiprocessing.get_context(start_method()).Process(target=train, args=(
        str(folder / 'toy'), str(folder / 'work'), str(log), [str(config)],
        ['train_dataloader.num_workers=2', 'val_dataloader.num_workers=1'], {}))
    process.start()
    process.join()
    assert process.exitcode == 0, log.read_text()[-3000:]
    return [json.loads(line) for line in noted.read_text().splitlines()]


@pytest.mark.nightly
@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='reads /proc')
def test_memory_and_open_files_stay_flat(tmp_path):
    rows = long_training(tmp_path)
    assert rows[-1]['iteration'] == EPOCHS * EPOCH_ITERATIONS
    settled = [row for row in rows if row['iteration'] >= SETTLED]
    iterations = [row['iteration'] for row in settled]
    readers = zip(*(row['workers'] for row in settled), strict=True)
    histories = dict(zip(('main', 'worker 0', 'worker 1'),
                         [[row['main'] for row in settled], *readers], strict=True))
    growth = {name: slope(iterations, [entry['private_kib'] for entry in history])
              for name, history in histories.items()}
    if 'LONG_RUN_FILE' in os.environ:
        Path(os.environ['LONG_RUN_FILE']).write_text(
            json.dumps(dict(kib_per_iteration=growth, rows=rows), indent=1) + '\n')
    assert len({row['tensors'] for row in settled}) == 1, rows
    for name, history in histories.items():
        assert len({entry['open_files'] for entry in history}) == 1, (name, history)
        assert growth[name] < KIB_PER_ITERATION, (growth, rows)
