"""Finding of a check of plausibility."""
from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

ERROR, WARNING, NOTE = 'error', 'warning', 'note'


@dataclass(frozen=True)
class Finding:
    """Sign that a score may be wrong.

    Args:
        level: ``ERROR``: the score cannot be right; ``WARNING``: it is
            probably wrong; ``NOTE``: a fact that lowers it.
        fault: one or two sentences on the fault and its likely cause.
        cure: sentence that names the option against it, empty if none is.
        option: the option in ``cure``.
    """

    level: str
    fault: str
    cure: str = ''
    option: str = ''

    def sentence(self, offered: Collection[str]) -> str:
        """Return the fault, and the cure if the tool offers its option."""
        return f'{self.fault} {self.cure}' if self.cure and self.option in offered else self.fault
