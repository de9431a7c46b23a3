"""Train ActionFormer by the published code or by this project's, and test it by both.

DATA is written by ``benchmarks.published_features``. CODE is a checkout of the published code,
built and outside this repository. Both codes train the same reduced recipe with seed N. Each
checkpoint is converted, and each code tests it with its own inference and evaluation. A run that
was stopped goes on from its last epoch. Train by the published code first: its checkpoint gives
the names for the conversion of ours.
"""
from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks.errors import BenchmarkError
from benchmarks.output import write_json
from benchmarks.published_code import PublishedCode
from benchmarks.published_features import FeatureRule
from benchmarks.published_recipe import Recipe
from sbp_tad.apis import checkpoint_conversion, launch
from sbp_tad.apis.command_line import run_main
from sbp_tad.engine.complete_weights import CompleteWeightsHook
from sbp_tad.provenance import environment, git_state

OURS, THEIRS = 'sbp_tad', 'published'
COMMANDS = (
    'python -m benchmarks.published_features ANNOTATION DATA',
    'python -m benchmarks.published_training CODE DATA WORK_DIR --trained-by NAME --seed N')
THRESHOLDS = ('0.30', '0.40', '0.50', '0.60', '0.70')


class Comparison:
    """Training and test of one recipe by two codes.

    Args:
        code: checkout of the published code.
        data: features and annotation.
        work_dir: folder of checkpoints and logs.
        seed: of the training.
        recipe: of both codes.
    """

    def __init__(self, code: Path, data: Path, work_dir: Path, seed: int, recipe: Recipe) -> None:
        self.code = PublishedCode(code, recipe.ema_decay)
        self.data, self.seed, self.recipe = data.resolve(), seed, recipe
        self.work_dir = work_dir.resolve()

    def train_ours(self) -> Path:
        """Train by this project; return the last checkpoint."""
        folder = self.work_dir / f'{OURS}_{self.seed}'
        last = folder / f'epoch_{self.recipe.epochs}.pth'
        if not last.exists():
            cfg = self.recipe.our_config(self.data, self.seed)
            cfg.work_dir = str(folder)
            launch.skip_validation(cfg)
            launch.set_resume(cfg, 'auto')
            launch.build_runner(cfg).train()
        return last

    def train_theirs(self) -> Path:
        """Train by the published code; return the last checkpoint."""
        config = self._their_config(self.seed)
        folder = config.with_name(f'{config.stem}_run')
        done = sorted(folder.glob('epoch_*.pth.tar'))
        last = folder / f'epoch_{self.recipe.epochs:03d}.pth.tar'
        if last not in done:
            resume = ('--resume', done[-1]) if done else ()
            self.code.run('train.py', config, '--output', 'run', '-c', '1', *resume)
        return last

    def test_ours(self, checkpoint: Path) -> dict[str, float]:
        """Return the mAPs of a checkpoint of this project, in per cent."""
        cfg = self.recipe.our_config(self.data, 0)
        cfg.work_dir = str(checkpoint.parent / 'test')
        launch.set_checkpoint(cfg, str(checkpoint))
        runner = launch.build_runner(cfg)
        runner.register_hook(CompleteWeightsHook(str(checkpoint), []))
        found = runner.test()
        names = dict(average='average_mAP', **{each: f'mAP@{each}' for each in THRESHOLDS})
        return {name: 100 * float(found[f'tad/{key}']) for name, key in names.items()}

    def test_theirs(self, checkpoint: Path) -> dict[str, float]:
        """Return the mAPs of a checkpoint of the published code, in per cent."""
        (shares, average, _), = self.code.run('eval.py', self._their_config(0), checkpoint)
        return dict(average=100 * float(average),
                    **{each: 100 * float(share) for each, share in zip(THRESHOLDS, shares)})

    def to_ours(self, checkpoint: Path) -> Path:
        """Convert a published checkpoint."""
        out = checkpoint.with_name('converted.pth')
        checkpoint_conversion.write_checkpoint(
            checkpoint_conversion.convert_checkpoint(checkpoint, 'actionformer'), out)
        return out

    def to_theirs(self, checkpoint: Path) -> Path:
        """Convert a checkpoint of this project.

        Raises:
            BenchmarkError: the published code has trained nothing yet.
        """
        templates = sorted(self.work_dir.glob(f'{THEIRS}_*_run/epoch_*.pth.tar'))
        if not templates:
            raise BenchmarkError(f'{self.work_dir} holds no checkpoint of the published code. '
                                 f'Run with --trained-by {THEIRS} first.')
        out = checkpoint.with_name('converted.pth.tar')
        checkpoint_conversion.write_back(checkpoint, templates[0], out)
        return out

    def row(self, trained_by: str) -> dict[str, Any]:
        """Train by one code and test by both."""
        train, convert = ((self.train_ours, self.to_theirs) if trained_by == OURS else
                          (self.train_theirs, self.to_ours))
        checkpoint = train()
        other = convert(checkpoint)
        ours, theirs = (checkpoint, other) if trained_by == OURS else (other, checkpoint)
        tests: dict[str, tuple[Callable[[Path], dict[str, float]], Path]] = {
            OURS: (self.test_ours, ours), THEIRS: (self.test_theirs, theirs)}
        return dict(trained_by=trained_by, seed=self.seed,
                    mAP={name: {key: round(value, 4) for key, value in test(path).items()}
                         for name, (test, path) in tests.items()})

    def _their_config(self, seed: int) -> Path:
        path = self.work_dir / f'{THEIRS}_{seed}.yaml'
        self.recipe.write_their_config(self.code.folder, self.data, seed, path)
        return path


def add_row(path: Path, row: dict[str, Any], recipe: Recipe, code: Path) -> None:
    """Put a row into the file of results, in place of the one of the same code and seed.

    Raises:
        BenchmarkError: the file cannot be read or written, or is of another recipe.
    """
    rows = [row]
    content: dict[str, Any] = dict(
        commands=COMMANDS, published_code=git_state(code), python=platform.python_version(),
        packages=environment()['packages'], protocol='actionformer', recipe=asdict(recipe),
        features=asdict(FeatureRule()))
    if path.exists():
        try:
            before = json.loads(path.read_text(encoding='utf-8'))
            same = all(before[key] == content[key] for key in ('recipe', 'features'))
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise BenchmarkError(f'{path} holds no results of this program; give another '
                                 'file.') from error
        if not same:
            raise BenchmarkError(f'{path} holds results of another recipe or of other features; '
                                 'give another file.')
        rows += [other for other in before['rows']
                 if (other['trained_by'], other['seed']) != (row['trained_by'], row['seed'])]
    rows.sort(key=lambda one: (one['trained_by'], one['seed']))
    write_json(path, dict(content, rows=rows))


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('code', type=Path, metavar='CODE', help='checkout of the published code')
    parser.add_argument('data', type=Path, metavar='DATA', help='features and annotation')
    parser.add_argument('work_dir', type=Path, metavar='WORK_DIR', help='checkpoints and logs')
    parser.add_argument('--trained-by', choices=(OURS, THEIRS), required=True,
                        help='code that trains')
    parser.add_argument('--seed', type=int, default=0, metavar='N',
                        help='seed of the training (default: %(default)s)')
    parser.add_argument('--json', type=Path, metavar='FILE',
                        help='write the figures, in place of those of the same code and seed')
    return parser


def main(argv: list[str] | None = None) -> None:
    """Train, test, print, and write the file that is asked for."""
    arguments = build_parser().parse_args(argv)
    torch.set_num_threads(1)
    recipe = Recipe()
    row = Comparison(arguments.code, arguments.data, arguments.work_dir, arguments.seed,
                     recipe).row(arguments.trained_by)
    print(json.dumps(row, indent=2))
    if arguments.json:
        add_row(arguments.json, row, recipe, arguments.code)


if __name__ == '__main__':
    run_main(main)
