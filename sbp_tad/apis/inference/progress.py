"""The bar of an inference run: how far it is, and the time that is left."""
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
    """Context of a bar over videos whose numbers of windows are not yet known.

    Args:
        weights: work of each video, compared with the others.
        is_shown: draw it at all.
    """

    def __init__(self, weights: Mapping[str, float], is_shown: bool) -> None:
        self.weights = weights
        self.num_done = 0
        self.bar = Progress(
            TextColumn('{task.fields[count]} videos'), BarColumn(), TaskProgressColumn(),
            TimeElapsedColumn(), TextColumn('left'), TimeRemainingColumn(),
            TextColumn('{task.description}'), console=Console(stderr=True),
            disable=not (is_shown and weights))

    def __enter__(self) -> VideoProgress:
        """Begin to draw."""
        self.bar.start()
        self.task = self.bar.add_task('', total=sum(self.weights.values()), count=self._count())
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the last state on the screen."""
        if self.num_done == len(self.weights):  # shares of windows may sum up to a bit less
            self.bar.update(self.task, completed=sum(self.weights.values()))
        self.bar.stop()

    def advance(self, video_id: str, num_windows: int, is_last: bool) -> None:
        """One of the windows of a video is done, maybe the last one."""
        self.num_done += is_last
        self.bar.update(self.task, description=video_id, count=self._count(),
                        advance=self.weights[video_id] / num_windows)

    def _count(self) -> str:
        return f'{self.num_done}/{len(self.weights)}'
