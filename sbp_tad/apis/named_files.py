"""Files that a command line names, looked up before anything heavy is imported."""
from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

from sbp_tad.apis.errors import InferenceError
from sbp_tad.errors import ConfigError

PACKAGE = Path(__file__).parents[1]


def find_config(config_or_name: str | Path) -> str:
    """Return the path of a config from its path or from the name of a recipe.

    The name of a recipe is the stem of its file. It is looked up in the source
    tree and in the installed package.

    Raises:
        ConfigError: no recipe, or more than one, has this name.
    """
    name = str(config_or_name)
    if name.endswith('.py') or Path(name).is_file():
        return name
    recipes: dict[str, set[Path]] = {}
    for folder in (PACKAGE.parent / 'configs', PACKAGE / '.mim/configs'):
        for path in folder.glob('[!_]*/*.py'):
            recipes.setdefault(path.stem, set()).add(path.resolve())
    found = sorted(recipes.get(name, ()))
    if len(found) > 1:
        raise ConfigError(f'several configs are named {name!r}: {", ".join(map(str, found))}. '
                          'Give the path of one.')
    if not found:
        similar = get_close_matches(name, recipes, n=3, cutoff=0.3) or sorted(recipes)[:3]
        raise ConfigError(f'no config is named {name!r}. Give the path of a config, or the name '
                          f'of a recipe, for example {", ".join(similar)}.')
    return str(found[0])


def check_config(config_or_name: str) -> str:
    """Return the path of an existing config from its path or from the name of a recipe.

    Raises:
        ConfigError: the file does not exist; or see :func:`find_config`.
    """
    path = find_config(config_or_name)
    if not Path(path).is_file():
        raise ConfigError(f'config {path} does not exist. Give the path of an existing config, '
                          'for example configs/toy/actionformer_r3d10_sbp-r4_toy.py, or the name '
                          'of a recipe, for example actionformer_r3d10_sbp-r4_toy.')
    return path


def check_checkpoint(path: str) -> None:
    """Check that a checkpoint exists, unless it is a URL.

    Raises:
        ConfigError: it does not.
    """
    if '://' in path or Path(path).is_file():
        return
    folder = Path(path).parent
    there = sorted(file.name for file in folder.glob('*.pth')) if folder.is_dir() else []
    listing = f' That folder holds {", ".join(there[:5])}.' if there else ''
    raise ConfigError(f'checkpoint {path} does not exist. Give a file that training wrote, for '
                      f'example work_dirs/.../best.pth.{listing}')


def newest_checkpoint(work_dir: str | Path) -> str | None:
    """Return the checkpoint that ``last_checkpoint`` of a work dir names; None without that file.

    If the work dir was moved, the checkpoint is found beside ``last_checkpoint``.

    Raises:
        ConfigError: the named checkpoint does not exist.
    """
    note = Path(work_dir) / 'last_checkpoint'
    if not note.is_file():
        return None
    named = note.read_text().strip()
    beside = Path(work_dir) / Path(named).name
    if '://' in named or (named and Path(named).exists()):
        return named
    if named and beside.exists():
        return str(beside)
    raise ConfigError(f'{note} names the checkpoint {named!r}, which does not exist. Name one with '
                      f'--resume FILE, or remove {note} to start again.')


def check_inputs(paths: Iterable[str | Path]) -> None:
    """Check that videos, or folders of them, exist.

    Raises:
        InferenceError: some do not.
    """
    absent = [str(path) for path in paths if not Path(path).exists()]
    if absent:
        more = f' and {len(absent) - 3} more' if len(absent) > 3 else ''
        raise InferenceError(f'no such file or folder: {", ".join(absent[:3])}{more}. Give '
                             'existing videos, or folders of them.')
