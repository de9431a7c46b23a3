"""Detections of all videos from the predictions of their windows."""
from __future__ import annotations

from collections.abc import Mapping, Sequence

from sbp_tad.evaluation.detection_columns import Detections
from sbp_tad.evaluation.score_fusion import ScoreFusion
from sbp_tad.segments.merging import PostProcessing, VideoColumns, merge_video


def merge_videos(windows: Mapping[str, Sequence[VideoColumns]], class_names: Sequence[str],
                 rules: PostProcessing, fusion: ScoreFusion | None = None,
                 durations: Mapping[str, float | None] | None = None) -> Detections:
    """Merge the windows of every video and return named detections.

    Args:
        windows: predictions of the windows of each video, in order of time.
        class_names: name of each label.
        rules: suppression and limits, see :func:`sbp_tad.segments.merging.merge_video`.
        fusion: scores of a video-level classifier, fused after merging; None for none.
        durations: seconds of the videos, to which their detections are clipped.
    """
    durations = durations or {}
    videos = {video_id: merge_video(found, rules, durations.get(video_id))
              for video_id, found in sorted(windows.items())}
    return Detections.from_videos(videos if fusion is None else fusion.apply(videos), class_names)
