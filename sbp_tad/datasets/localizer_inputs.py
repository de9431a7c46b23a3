"""Features of this project's datasets in the form that mmaction2's localizers read."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mmcv.transforms import BaseTransform

from sbp_tad.annotations import VideoAnnotation
from sbp_tad.datasets.errors import DatasetError
from sbp_tad.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LocalizerInputs(BaseTransform):
    """Rename the results of ``LoadFeatures`` for BMN, BSN (TEM, PEM) and TCANet of mmaction2.

    Behind it stand ``GenerateLocalizationLabels`` and
    ``PackLocalizationInputs`` of mmaction2. Reads ``features`` and
    ``annotation``. Sets ``raw_feature`` (C, T), ``video_name``,
    ``duration_second``, ``duration_frame``, ``feature_frame``,
    ``annotations`` and, with ``proposal_file``, ``proposals`` (N lists of 3).

    Args:
        interval: frames per snippet of the features; ``feature_frame`` is the
            part of the video in whole snippets.
        name_template: ``video_name`` of a video; mmaction2's metric drops two characters.
        proposal_file: JSON of mmaction2 (TCANet) whose videos hold
            ``proposals``, start, end and score in fractions of the video.

    Raises:
        DatasetError: a video of unknown length, or without proposals in the file.
    """

    def __init__(self, interval: int = 16, name_template: str = 'v_{video_id}',
                 proposal_file: str | None = None) -> None:
        self.interval, self.name_template = interval, name_template
        self.proposal_file = proposal_file
        self.proposals = None if proposal_file is None else \
            json.loads(Path(proposal_file).read_text(encoding='utf-8'))

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add the keys of mmaction2 to ``results``."""
        video: VideoAnnotation = results['annotation']
        num_frames = frames_of(video)
        name = self.name_template.format(video_id=video.video_id)
        results.update(
            raw_feature=results['features'], video_name=name,
            duration_second=video.duration_seconds, duration_frame=num_frames,
            feature_frame=num_frames // self.interval * self.interval,
            annotations=[dict(segment=segment, label=label) for segment, label in
                         zip(video.segments_seconds.tolist(), video.labels)])
        if self.proposals is not None:
            results['proposals'] = self._proposals(name)
        return results

    def _proposals(self, name: str) -> list[list[float]]:
        entry = (self.proposals or {}).get(name) or {}
        if 'proposals' not in entry:
            raise DatasetError(f'{self.proposal_file}: there are no proposals of {name}. Add them, '
                               'or correct name_template of LocalizerInputs.')
        return entry['proposals']  # a list, of which mmaction2 makes a float32 tensor

    def __repr__(self) -> str:
        return (f'{type(self).__name__}(interval={self.interval}, '
                f'name_template={self.name_template!r}, proposal_file={self.proposal_file!r})')


def frames_of(video: VideoAnnotation) -> int:
    """Return the number of frames of a video.

    Raises:
        DatasetError: neither frames nor duration and fps are annotated.
    """
    if video.duration_seconds and video.num_frames:
        return video.num_frames
    if video.duration_seconds and video.fps:
        return round(video.duration_seconds * video.fps)
    raise DatasetError(f'{video.video_id}: the annotation needs a duration, and frames or fps, for '
                       'the localizers of mmaction2. Write them into it.')
