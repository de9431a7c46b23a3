"""Run the published code of ActionFormer on a CPU, from a checkout outside this repository."""
from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from benchmarks.errors import BenchmarkError


class PublishedCode:
    """Checkout of the published code, whose scripts run in this process.

    Nothing in the checkout is edited. While a script runs, waiting for the
    CUDA device and moving a checkpoint to it do nothing, ``np.float`` is what
    it was before numpy 1.24, and its evaluation uses threads, which see that.

    Args:
        folder: checkout in which ``libs/utils/setup.py build_ext --inplace`` was run.
        ema_decay: decay of the averaged weights, which it has no option for.

    Raises:
        BenchmarkError: no such checkout, or it is not built.
    """

    def __init__(self, folder: Path, ema_decay: float) -> None:
        if not list(folder.glob('libs/utils/nms_1d_cpu*.so')):
            raise BenchmarkError(
                f'{folder} holds no built checkout of ActionFormer. Clone its repository there and '
                'run `python setup.py build_ext --inplace` in libs/utils.')
        self.folder, self.ema_decay = folder.resolve(), ema_decay

    def run(self, script: str, *options: str | Path) -> list[Any]:
        """Run a script with command-line options; return what its evaluations gave."""
        added = [str(self.folder), str(self.folder / 'libs/utils')]
        sys.path[:0] = [path for path in added if path not in sys.path]
        import joblib  # what the checkout needs, and this project does not
        import libs.utils as theirs  # the checkout's

        results: list[Any] = []
        evaluate = theirs.ANETdetection.evaluate

        def kept(*arguments: Any, **named: Any) -> Any:
            results.append(evaluate(*arguments, **named))
            return results[-1]

        with (patch.object(sys, 'argv', [script, *map(str, options)]),
              patch.object(torch.cuda, 'synchronize', lambda: None),
              patch.object(torch.UntypedStorage, 'cuda', lambda storage, device: storage),
              patch.object(theirs.ModelEma.__init__, '__defaults__', (self.ema_decay, None)),
              patch.object(theirs.ANETdetection, 'evaluate', kept),
              patch.object(np, 'float', float, create=True),
              joblib.parallel_config(backend='threading')):
            runpy.run_path(str(self.folder / script), run_name='__main__')
        return results
