"""Timelines for mmengine's visual backends: files, TensorBoard, WandB."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmengine.dist import master_only
from mmengine.visualization import Visualizer

from sbp_tad.annotations import VideoAnnotation
from sbp_tad.registry import VISUALIZERS
from sbp_tad.structures import TADDataSample
from sbp_tad.visualization.errors import VisualizationError
from sbp_tad.visualization.timeline import ScoredSegments, timeline_image


@VISUALIZERS.register_module()
class TimelineVisualizer(Visualizer):
    """Draw annotated and detected segments as a timeline.

    It replaces mmaction's ``ActionVisualizer`` in a config, with the same
    ``vis_backends``. A training loop sets ``dataset_meta``, which has the class
    names. ``DetectionVisualizationHook`` calls it during training.
    """

    @master_only
    def add_datasample(self, name: str, image: Sequence[np.ndarray] | None,
                       data_sample: TADDataSample, draw_gt: bool = True, draw_pred: bool = True,
                       step: int = 0, *, duration_seconds: float | None = None,
                       score_threshold: float = 0.2, out_file: str | Path | None = None) -> None:
        """Draw a timeline and pass it to every backend.

        Args:
            name: of the picture.
            image: frames (H, W, 3) uint8 RGB from equal parts of the time
                shown, or None.
            data_sample: sample of a video or window, with ``gt_instances`` and
                ``pred_instances`` where they are drawn.
            draw_gt: show the annotated segments.
            draw_pred: show the detected segments.
            step: of training.
            duration_seconds: end of the time axis; the end of the window by default.
            score_threshold: leave out detections below it.
            out_file: PNG file to write too.

        Raises:
            VisualizationError: no class names, or no duration.
        """
        classes = (self.dataset_meta or {}).get('classes')
        if classes is None:
            raise VisualizationError("TimelineVisualizer needs dataset_meta = dict(classes=...); a "
                                     'training loop sets it.')
        if duration_seconds is None and data_sample.get('window') is None:
            raise VisualizationError(f'{name}: the sample has no window; give duration_seconds.')
        end = data_sample.window.valid_end_seconds if duration_seconds is None \
            else duration_seconds
        truth = _annotation(data_sample, classes) \
            if draw_gt and 'gt_instances' in data_sample else None
        found = _detections(data_sample, classes) \
            if draw_pred and 'pred_instances' in data_sample else \
            ScoredSegments(np.empty((0, 2)), (), np.empty(0))
        picture = timeline_image(name, end, truth, found, classes, score_threshold,
                                 () if image is None else image)
        if out_file is not None:
            from matplotlib.image import imsave
            imsave(out_file, picture)
        self.add_image(name.replace('/', '_'), picture, step)


def _annotation(sample: TADDataSample, classes: Sequence[str]) -> VideoAnnotation:
    found = sample.gt_instances
    return VideoAnnotation(sample.video_id, '', None, None, None,
                           np.asarray(found.segments_seconds, dtype=np.float64).reshape(-1, 2),
                           tuple(classes[label] for label in found.labels.tolist()))


def _detections(sample: TADDataSample, classes: Sequence[str]) -> ScoredSegments:
    found = sample.pred_instances
    return ScoredSegments(np.asarray(found.segments_seconds),
                          [classes[label] for label in found.labels.tolist()],
                          np.asarray(found.scores))
