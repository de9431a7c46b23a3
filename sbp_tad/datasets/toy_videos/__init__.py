"""Toy dataset: untrimmed videos drawn from a seed, whose classes are motions.

``motion`` plans the actions and the actor's path, ``looks`` draws sprites and
textures, ``scene`` renders frames, ``build`` writes the mp4 files and the annotation.
"""
from importlib import import_module

from sbp_tad.datasets.errors import DatasetError

from .motion import CLASS_NAMES
from .settings import ToySettings

_LAZY = {'LOOKS': 'looks', 'build_toy_dataset': 'build'}  # they import av and cv2

__all__ = [
    'CLASS_NAMES', 'LOOKS', 'DatasetError', 'ToySettings',
    'build_toy_dataset'
]


def __getattr__(name: str) -> object:
    """Import an exported name on its first use (PEP 562)."""
    if name not in _LAZY:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(f'{__name__}.{_LAZY[name]}'), name)
