"""Hook that lists unreadable videos and stops a run with too many of them."""
from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.dist import all_gather_object, get_rank, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from sbp_tad.engine.errors import HookError, TrainingError
from sbp_tad.engine.provenance_hook import dataset_parts
from sbp_tad.registry import HOOKS

FILE_NAME = 'bad_items.json'
NUM_LISTED = 20


@HOOKS.register_module()
class BadItemsHook(Hook):
    """Write the videos that could not be read, with reasons, to ``bad_items.json``.

    The file lies in the work dir and has one entry each for ``train``, ``val``
    and ``test``. Data workers are separate processes, so training sets write
    the videos that they skip (``on_bad_video='skip'``) to one file of notes
    per process, which this hook reads. In testing, ``unreadable`` of the
    metric decides if an unreadable video is an error.

    Args:
        max_share: largest allowed share of unreadable videos of a training
            set, in [0, 1].
        interval: number of iterations between two checks of the notes.

    Raises:
        TrainingError: the share is larger, in all processes.
    """

    priority = 'LOW'  # after the metrics of an epoch are written

    def __init__(self, max_share: float = 0.1, interval: int = 50) -> None:
        if not 0 <= max_share <= 1 or interval < 1:
            raise HookError('max_share must be in [0, 1] and interval at least 1, got '
                            f'{max_share} and {interval}.')
        self.max_share, self.interval = max_share, interval
        self._found: dict[str, str] = {}

    def before_train(self, runner: Runner) -> None:
        """Give the datasets the path of their notes, before their workers start."""
        self._notes = Path(runner.work_dir) / f'.bad_items_{get_rank()}.jsonl'
        self._notes.unlink(missing_ok=True)
        parts = list(dataset_parts(runner.train_dataloader.dataset))
        for part in parts:
            part.bad_items_file = str(self._notes)
        self._num_videos = len({part.get_data_info(index).get('video_id') for part in parts
                                if hasattr(part, 'get_data_info') for index in range(len(part))})

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None,
                         outputs: Any = None) -> None:
        """Check the notes at intervals."""
        if self.every_n_train_iters(runner, self.interval):
            self._check(runner)

    def after_train_epoch(self, runner: Runner) -> None:
        """Check the notes."""
        self._check(runner)

    def after_train(self, runner: Runner) -> None:
        """Check the notes a last time and remove them."""
        self._check(runner)
        self._notes.unlink(missing_ok=True)

    def before_val_epoch(self, runner: Runner) -> None:
        """Begin a new list."""
        self._found = {}

    def before_test_epoch(self, runner: Runner) -> None:
        """Begin a new list."""
        self._found = {}

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None,
                       outputs: Sequence[Any] | None = None) -> None:
        """Collect failures; write the list after the last batch, before the metric may raise."""
        self._collect(runner, 'val', outputs, batch_idx + 1 == len(runner.val_dataloader))

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None,
                        outputs: Sequence[Any] | None = None) -> None:
        """Collect failures as in :meth:`after_val_iter`."""
        self._collect(runner, 'test', outputs, batch_idx + 1 == len(runner.test_dataloader))

    def _collect(self, runner: Runner, phase: str, outputs: Sequence[Any] | None, last: bool
                 ) -> None:
        self._found.update({sample.video_id: sample.error for sample in outputs or ()
                            if getattr(sample, 'error', None)})
        if last:
            write_list(runner.work_dir, phase, _of_all(self._found))

    def _check(self, runner: Runner) -> None:
        bad = _of_all(read_notes(self._notes))
        write_list(runner.work_dir, 'train', bad)
        if len(bad) > self.max_share * max(1, self._num_videos):
            listing = ''.join(f'\n  {why}' for why in list(bad.values())[:NUM_LISTED])
            raise TrainingError(
                f'{len(bad)} of {self._num_videos} training videos cannot be read, more than the '
                f'allowed share of {self.max_share:g}:{listing}\nAll are listed in '
                f'{Path(runner.work_dir) / FILE_NAME}. Repair or remove them, or set '
                'default_hooks.bad_items.max_share.')


def read_notes(path: Path) -> dict[str, str]:
    """Read video id -> reason from the complete lines of a file of notes."""
    if not path.is_file():
        return {}
    lines = path.read_text(encoding='utf-8').split('\n')[:-1]  # the last line may be incomplete
    return {note['video_id']: note['reason'] for note in map(json.loads, lines)}


def write_list(folder: str | Path, phase: str, bad: Mapping[str, str]) -> None:
    """Write the bad items of a phase into the file; without any, create no file."""
    path = Path(folder) / FILE_NAME
    if not is_main_process() or not (bad or path.exists()):
        return
    try:
        entries = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError):  # absent, or incomplete after a kill
        entries = {}
    entries[phase] = [dict(video_id=video_id, reason=why) for video_id, why in sorted(bad.items())]
    path.write_text(json.dumps(entries, indent=1) + '\n', encoding='utf-8')


def _of_all(found: Mapping[str, str]) -> dict[str, str]:
    return {video_id: why for share in all_gather_object(dict(found))
            for video_id, why in share.items()}
