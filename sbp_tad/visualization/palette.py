"""Colours of all pictures: of classes, of text and of score."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import to_rgb

# Paul Tol's "bright" and "muted" qualitative schemes, distinguishable with any
# colour vision (https://personal.sron.nl/~pault/); they repeat after the last one
PALETTE = ('#4477AA', '#EE6677', '#228833', '#CCBB44', '#66CCEE', '#AA3377', '#332288', '#DDAA77',
           '#117733', '#882255')
OTHER_COLOUR = '#999999'  # labels that are no class, such as Ambiguous
INK, FAINT_INK, GRID = '#24292F', '#6B7280', '#E3E5E9'


def class_colours(class_names: Sequence[str], labels: Sequence[str]) -> dict[str, str]:
    """Return the colours of the labels that occur: classes in their order, then others in grey."""
    present = set(labels)
    colours = {name: PALETTE[index % len(PALETTE)] for index, name in enumerate(class_names)
               if name in present}
    return colours | dict.fromkeys(sorted(present - set(colours)), OTHER_COLOUR)


def shade(colour: str, score: float) -> tuple[float, ...]:
    """Return the colour itself at score 1, nearly white at 0; RGB in [0, 1]."""
    strength = 0.08 + 0.92 * float(np.clip(score, 0, 1))
    return tuple(1 - strength * (1 - channel) for channel in to_rgb(colour))
