"""Plan of the training memory as a table and as JSON."""
from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table

from sbp_tad.planning.budget import format_bytes
from sbp_tad.planning.proposals import Planned
from sbp_tad.planning.video_model import Setting, StepMemory


@dataclass(frozen=True)
class MemoryPlan:
    """Predicted memory of a config, and settings that fit the budget.

    Args:
        budget: bytes.
        current: setting of the config.
        table: prediction for every mode and keep ratio.
        proposals: settings that fit, by the choice that they change.
    """

    budget: int
    current: Setting
    table: list[Planned]
    proposals: dict[str, Planned]


def plan_to_json(plan: MemoryPlan) -> dict[str, Any]:
    """Convert a plan to JSON: settings and bytes by name."""
    def row(planned: Planned) -> dict[str, Any]:
        setting, memory = planned
        return dict(**asdict(setting), **asdict(memory), total=memory.total,
                    fits=memory.total <= plan.budget)

    return dict(budget=plan.budget, configured=asdict(plan.current),
                table=[row(planned) for planned in plan.table],
                proposals={name: row(planned) for name, planned in plan.proposals.items()})


def print_plan(plan: MemoryPlan, file: TextIO | None = None) -> None:
    """Print the table of modes and the proposals.

    Args:
        plan: to print.
        file: stdout by default.
    """
    console = Console(markup=False, emoji=False, file=file or sys.stdout)
    if not console.is_terminal:  # a file or a pipe has no width: keep every row on one line
        console.width = 10_000
    current = plan.current
    table = Table(title=f'Training memory: batch {current.batch_size}, {current.num_frames} frames',
                  title_justify='left')
    for name in ('form', 'keep ratio', 'weights', 'gradients', 'optimizer', 'saved', 'transients',
                 'total', f'fits {format_bytes(plan.budget)}'):
        table.add_column(name, justify='left' if name == 'form' else 'right')
    for setting, memory in plan.table:
        chosen = (setting.mode, setting.keep_ratio) == (current.mode, current.keep_ratio)
        table.add_row(setting.mode, f'{setting.keep_ratio:g}', *_cells(memory),
                      'yes' if memory.total <= plan.budget else 'no',
                      style='bold' if chosen else None)
    console.print(table)
    console.print(_proposals(plan))


def _cells(memory: StepMemory) -> list[str]:
    return [format_bytes(size) for size in (*asdict(memory).values(), memory.total)]


def _proposals(plan: MemoryPlan) -> Table:
    table = Table(title=f'What fits {format_bytes(plan.budget)}', title_justify='left')
    for name in ('proposal', 'form', 'keep ratio', 'clips at once', 'batch', 'frames', 'total'):
        table.add_column(name, justify='left' if name in ('proposal', 'form') else 'right')
    for name, (setting, memory) in plan.proposals.items():
        table.add_row(name, setting.mode, f'{setting.keep_ratio:g}',
                      str(setting.clips_at_once or 'default'), str(setting.batch_size),
                      str(setting.num_frames), format_bytes(memory.total))
    return table
