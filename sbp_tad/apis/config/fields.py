"""Top-level fields of a config: misspelt names, and the modules that ``custom_imports`` names."""
from __future__ import annotations

import warnings
from difflib import get_close_matches
from typing import Any

from mmengine.config import Config
from mmengine.utils import import_modules_from_strings

from sbp_tad.apis.config.values import top_keys
from sbp_tad.errors import ConfigError

# A file may hold variables of its own, so only names that differ by a letter or two are doubted.
DOUBTFUL = 0.9


def warn_of_misspelt_fields(cfg: Config) -> None:
    """Warn of variables of a config file that almost have the name of a field."""
    for name in sorted(set(cfg) - top_keys()):
        if near := get_close_matches(name, top_keys(), n=1, cutoff=DOUBTFUL):
            warnings.warn(f'{cfg.filename}: nothing reads the variable {name}. If the field '
                          f'{near[0]} is meant, correct the name; if not, choose a name that '
                          'differs more.', stacklevel=2)


def import_custom_modules(custom_imports: dict[str, Any] | None) -> None:
    """Import the modules of ``custom_imports``, as mmengine does while it reads a config file.

    Raises:
        ConfigError: a module cannot be imported.
    """
    try:
        import_modules_from_strings(**(custom_imports or dict(imports=None)))
    except (ImportError, TypeError) as error:
        raise import_fault(error) from error


def import_fault(error: BaseException) -> ConfigError:
    """Return the sentence for a module of a config that cannot be imported."""
    while isinstance(error.__context__, ImportError):  # mmengine wraps the cause, at times twice
        error = error.__context__
    return ConfigError(f'the config imports a module that cannot be imported: {error}. '
                       'custom_imports lists modules that Python finds; put the folder of your '
                       'own module into PYTHONPATH.')


def drop_delete_marks(value: Any) -> None:
    """Remove ``_delete_=True`` below a config where there was nothing to delete.

    mmengine leaves the mark in a dict that no base has; components take it for an option.
    """
    if isinstance(value, Config):
        value = value._cfg_dict
    if isinstance(value, dict):
        if dict.get(value, '_delete_') is True:
            dict.pop(value, '_delete_')
        for inner in dict.values(value):
            drop_delete_marks(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            drop_delete_marks(inner)
