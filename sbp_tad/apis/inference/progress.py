"""Progress bar of an inference run, with the remaining time."""
from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class VideoProgress:
    """Progress bar over videos whose numbers of windows are not known in advance.

    Args:
        weights: relative amount of work of each video.
        is_shown: draw the bar.
    """

    def __init__(self, weights: Mapping[str, float], is_shown: bool) -> None:
        self.weights = weights
        self.num_done = 0
        self.bar = Progress(
            TextColumn('{task.fields[count]} videos'), BarColumn(), TaskProgressColumn(),
            TimeElapsedColumn(), TextColumn('left'), TimeRemainingColumn(),
            TextColumn('{task.description}', markup=False),
            console=Console(markup=False, emoji=False, stderr=True),
            disable=not (is_shown and weights))

    def __enter__(self) -> VideoProgress:
        """Start to draw."""
        self.bar.start()
        self.task = self.bar.add_task('', total=sum(self.weights.values()), count=self._count())
        return self

    def __exit__(self, *_: object) -> None:
        """Stop, and keep the last state on the screen."""
        if self.num_done == len(self.weights):  # their shares may sum to less, by rounding
            self.bar.update(self.task, completed=sum(self.weights.values()))
        self.bar.stop()

    def advance(self, video_id: str, num_windows: int, is_last: bool) -> None:
        """Count one more window of a video as done."""
        self.num_done += is_last
        self.bar.update(self.task, description=video_id, count=self._count(),
                        advance=self.weights[video_id] / num_windows)

    def _count(self) -> str:
        return f'{self.num_done}/{len(self.weights)}'
