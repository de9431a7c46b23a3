"""Lists of class names, one name per line; lines with ``#`` name the source."""
from __future__ import annotations

from importlib.resources import files


def read_class_names(name: str) -> tuple[str, ...]:
    """Read the class names of ``NAME.txt`` in this folder, in class order."""
    text = files(__name__).joinpath(f'{name}.txt').read_text(encoding='utf-8')
    return tuple(line for line in text.splitlines() if line and not line.startswith('#'))
