"""The toy dataset: untrimmed videos drawn from a seed, whose classes are motions.

``motion`` says what happens and when, ``looks`` with what sprites and textures,
``scene`` draws it, ``build`` writes the mp4 files and the annotation.
"""
from sbp_tad.datasets.errors import DatasetError

from .build import ToySettings, build_toy_dataset
from .looks import LOOKS
from .motion import CLASS_NAMES

__all__ = [
    'CLASS_NAMES', 'LOOKS', 'DatasetError', 'DatasetError', 'ToySettings',
    'build_toy_dataset'
]
