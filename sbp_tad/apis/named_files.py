"""Files that a command line names, looked up before anything heavy is imported or computed."""
from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Iterable
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path

from sbp_tad.apis.errors import InferenceError
from sbp_tad.errors import ConfigError

PACKAGE = Path(__file__).parents[1]


def find_config(config_or_name: str | Path) -> str:
    """Return the path of a config from its path or its name.

    A name is that of a recipe, the stem of its file, which is looked up in the
    source tree and in the installed package; or ``package::path``, as in
    ``_base_``, for example ``mmaction::recognition/tsn/...py``.

    Raises:
        ConfigError: no recipe, or more than one, has this name; or there is no
            such package or no such config in it.
    """
    name = str(config_or_name)
    if '::' in name and not Path(name).is_file():
        return _config_of_package(name)
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


def _config_of_package(name: str) -> str:
    """Return the path of the config ``package::path``."""
    package, _, inner = name.partition('::')
    spec = find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(f'config {name!r}: there is no package {package!r}. Install it, or give '
                          'the path of a config.')
    home = Path(next(iter(spec.submodule_search_locations)))
    for folder in (home / '.mim/configs', home.parent / 'configs'):
        if (folder / inner).is_file():
            return str(folder / inner)
    stem = Path(inner).stem
    known = {path.stem: path.relative_to(home / '.mim/configs').as_posix()
             for path in (home / '.mim/configs').glob('**/*.py')}
    near = [f'{package}::{known[each]}' for each in get_close_matches(stem, known, 2)]
    raise ConfigError(f'config {name!r}: the package {package} has no such config.'
                      + (f' Did you mean {" or ".join(near)}?' if near else
                         ' Give its path below configs/ of that package.'))


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
    is_folder = Path(path).is_dir()
    folder = Path(path) if is_folder else Path(path).parent
    there = sorted(file.name for file in folder.glob('*.pth')) if folder.is_dir() else []
    listing = f' That folder holds {", ".join(there[:5])}.' if there else ''
    if is_folder:
        raise ConfigError(f'checkpoint {path} is a folder. Give a file in it.'
                          f'{listing or " It holds no .pth file."}')
    raise ConfigError(f'checkpoint {path} does not exist. Give a file that training wrote, for '
                      f'example work_dirs/.../best.pth.{listing}')


def resumed_checkpoint(path: str) -> str:
    """Return the checkpoint to resume from: a file, or the newest one of a work dir.

    The newest is the one that ``last_checkpoint`` names; without that file, the
    complete ``epoch_*.pth`` or ``iter_*.pth`` that was written last.

    Raises:
        ConfigError: there is no such file, or no checkpoint in the folder.
    """
    if not Path(path).is_dir():
        check_checkpoint(path)
        return path
    written = sorted((file.stat().st_mtime, str(file)) for file in Path(path).glob('*.pth')
                     if re.fullmatch(r'(epoch|iter)_\d+', file.stem) and zipfile.is_zipfile(file))
    found = newest_checkpoint(path) or (written[-1][1] if written else None)
    if found is None:
        raise ConfigError(f'--resume {path}: the folder holds no complete epoch_*.pth or '
                          'iter_*.pth. Give the checkpoint to resume from, or a folder that '
                          'training wrote.')
    return found


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


def check_output(option: str, path: str | Path | None, is_folder: bool = False,
                 makes_folder: bool = True) -> None:
    """Check that an output can be written, before the work whose result it holds.

    Args:
        option: name on the command line, or key of the config, for the message.
        path: file or folder to write; None if the option is not given.
        is_folder: the output is a folder, which is made if it does not exist.
        makes_folder: the folder of a file is made if it does not exist.

    Raises:
        ConfigError: a folder where a file is expected, or the reverse; a part of the
            path is a file; the folder does not exist or is not writable.
    """
    if path is None:
        return
    target = Path(path)
    advice = 'Give a folder.' if is_folder else \
        f'Give a file, for example {target / "result"}{target.suffix}.'
    if target.exists() and target.is_dir() != is_folder:
        raise ConfigError(f'{option} {path} is a {"file" if is_folder else "folder"}. {advice}')
    there = next(each for each in (target, *target.absolute().parents) if each.exists())
    if there != target and not there.is_dir():
        raise ConfigError(f'{option} {path} cannot be written: {there} is a file. Give a path in '
                          'a folder.')
    if not (is_folder or makes_folder or target.exists() or target.parent.is_dir()):
        raise ConfigError(f'{option} {path} cannot be written: the folder {target.parent} does '
                          'not exist. Make it, or give a path in an existing folder.')
    if not os.access(there, os.W_OK):
        raise ConfigError(f'{option} {path} cannot be written: no permission to write to {there}. '
                          'Give a path in a folder of yours.')
