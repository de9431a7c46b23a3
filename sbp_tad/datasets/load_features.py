"""Transform that reads the features of a window in place of frames."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sbp_tad.annotations import VideoAnnotation
from sbp_tad.datasets.errors import DatasetError
from sbp_tad.datasets.readers.features import FeatureFile
from sbp_tad.datasets.transforms import SampleWindow, window_generator
from sbp_tad.datasets.windows import clip_segments, draw_any_start, draw_window_start
from sbp_tad.registry import TRANSFORMS
from sbp_tad.structures import Window

DRAWS = ('action', 'window')


@TRANSFORMS.register_module()
class LoadFeatures(SampleWindow):
    """Read the features of a window; draw the window first if there is none.

    With features, the pipeline is this transform and ``PackTADInputs``. Reads
    ``feature_file``, ``annotation`` and ``window`` or ``window_size``. Sets
    ``window``, ``features`` (C, T) float32 and the ground truth, as
    :class:`SampleWindow` does; windows begin on a step.

    Args:
        crop_ratio: (minimum, maximum) share of the steps that training crops
            from a video that fits into the window; None takes all steps
            (ActionFormer: (0.9, 1.0) on THUMOS'14).
        draw: ``'action'``: training draws an action, then a window that holds
            ``min_action_share`` of it. ``'window'``: a window, again until it
            holds ``min_keep_share`` of any action, as in ActionFormer.
        kwargs: of :class:`SampleWindow`.

    Raises:
        DatasetError: ``crop_ratio`` outside (0, 1] or in the wrong order, or an unknown ``draw``.
    """

    def __init__(self, crop_ratio: Sequence[float] | None = None, draw: str = 'action',
                 **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if crop_ratio is not None and not (len(crop_ratio) == 2 and
                                           0 < crop_ratio[0] <= crop_ratio[1] <= 1):
            raise DatasetError('crop_ratio must be (min, max) with 0 < min <= max <= 1, got '
                               f'{crop_ratio}.')
        if draw not in DRAWS:
            raise DatasetError(f'draw must be one of {DRAWS}, got {draw!r}.')
        self.crop_ratio, self.draw = crop_ratio, draw

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add the window, its features and its actions to ``results``."""
        file: FeatureFile = results['feature_file']
        window = results.get('window')
        if window is None:
            window = self._draw_steps(results, file)
        results.update(window=window, features=file.read(window))
        self._add_ground_truth(results)
        return results

    def _draw_steps(self, results: dict[str, Any], file: FeatureFile) -> Window:
        annotation: VideoAnnotation = results['annotation']
        size = results['window_size'].num_frames
        if file.cover == 'resize':
            return file.window(annotation.video_id, 0, size)
        rng = window_generator()
        span = min(size, file.num_steps)
        if self.crop_ratio and file.num_steps <= size:
            low, high = (max(1, round(ratio * file.num_steps)) for ratio in self.crop_ratio)
            span = int(rng.integers(low, high, endpoint=True))
        grid = file.grid
        actions = (annotation.segments_seconds * grid.fps - grid.offset_frames) \
            / grid.stride_frames
        if self.draw == 'window':
            margin = grid.offset_frames / grid.stride_frames
            first = draw_any_start(rng, actions, file.num_steps, span, margin, self.min_keep_share)
        else:
            actions, _ = clip_segments(actions, 0, file.num_steps, 0.0)
            start = draw_window_start(rng, actions, file.num_steps, span, self.min_action_share)
            first = min(round(start), file.num_steps - span)
        return grid.window(annotation.video_id, first, size, span)
