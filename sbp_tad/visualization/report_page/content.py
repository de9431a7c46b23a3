"""Content of the report page as plain dictionaries and columns."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sbp_tad.annotations import VideoAnnotation, read_annotations
from sbp_tad.evaluation.detections import Detections
from sbp_tad.evaluation.error_analysis import ErrorAnalysisOptions, analyze_errors
from sbp_tad.evaluation.errors import EvaluationError
from sbp_tad.evaluation.evaluate import evaluate_detections, prepare_case
from sbp_tad.evaluation.options import EvaluationOptions
from sbp_tad.visualization.palette import OTHER_COLOUR, PALETTE

Columns = dict[str, list]  # start, end, label and, of detections, score: equally long


def report_content(detections: Detections,
                   annotations: Mapping[str, VideoAnnotation] | None = None,
                   options: EvaluationOptions | None = None, subset: str = '',
                   title: str = 'Detection report') -> dict[str, Any]:
    """Return the content of the page, ready for JSON; ``model.js`` reads it.

    With ground truth the page shows the detections that are scored under
    ``options``. Their videos are in the order of the file of detections, because
    equal scores rank in that order. The page matches them again at every position
    of its sliders. Without ground truth it shows all detections.

    Args:
        detections: of any videos.
        annotations: every video of the subset, from ``read_annotations``.
        options: rules of the score, protocol ``'activitynet'``.
        subset: name of the subset, for the notes.
        title: headline of the page.

    Returns:
        ``videos`` (name, duration, columns of truth and detections; seconds),
        ``labels`` (the first ``numClasses`` are classes), colours,
        ``evaluation`` and ``errorAnalysis`` as their ``to_json()``.

    Raises:
        EvaluationError: detections and annotations cannot be scored together.
    """
    head = dict(title=title, palette=PALETTE, otherColour=OTHER_COLOUR,
                hasGroundTruth=annotations is not None)
    if annotations is None:
        columns = (detections.video_index, detections.label_index, detections.segments_seconds,
                   detections.scores)
        return head | dict(
            labels=detections.labels, numClasses=len(detections.labels), evaluation=None,
            errorAnalysis=None, notes=['Without ground truth no detection is matched or scored.'],
            videos=_videos(detections.video_ids, {}, detections.labels,
                           _split(len(detections.video_ids), *columns)))
    return head | _scored_content(detections, annotations, options or EvaluationOptions(), subset)


def read_subsets(path: str | Path, subset: str | None, detections: Detections
                 ) -> tuple[dict[str, VideoAnnotation], str]:
    """Read the annotated videos of subsets; by default of those of the predicted videos.

    Args:
        path: annotations in ActivityNet form.
        subset: names of subsets, separated by commas, or None.
        detections: of the predicted videos.

    Returns:
        The videos, and the names of their subsets.

    Raises:
        EvaluationError: no subset is named, and no predicted video is annotated.
    """
    if subset:
        return read_annotations(path, subset.split(',')), subset
    annotations = read_annotations(path)
    subsets = {annotations[name].subset for name in detections.video_ids if name in annotations}
    if not subsets:
        raise EvaluationError(
            f'{path} annotates no video of the predictions ({len(detections.video_ids)} tried). '
            'If their ids differ only in folder, extension, prefix or case, add --map-video-ids; '
            'else check that both files are of the same data.')
    return ({name: video for name, video in annotations.items() if video.subset in subsets},
            ','.join(sorted(subsets)))


def _scored_content(detections: Detections, annotations: Mapping[str, VideoAnnotation],
                    options: EvaluationOptions, subset: str) -> dict[str, Any]:
    case = prepare_case(annotations, detections, options, subset)
    scored = case.comparison
    others = {label for video in case.truth.values() for label in video.labels}
    labels = (*case.class_names, *sorted(others - set(case.class_names)))
    by_video = dict(zip(case.video_names, _split(
        len(case.video_names), scored.detections.video_index, scored.detections.class_index,
        scored.detections.segments_seconds, scored.scores)))
    names = [name for name in dict.fromkeys([*detections.video_ids, *case.truth])
             if name not in options.excluded_videos]
    result = evaluate_detections(annotations, detections, options, subset)
    analysis = analyze_errors(detections, annotations, ErrorAnalysisOptions(options), subset)
    return dict(labels=labels, numClasses=len(case.class_names), evaluation=result.to_json(),
                errorAnalysis=analysis.to_json(), notes=_notes(subset, case.rule_counts),
                videos=_videos(names, case.truth, labels, [by_video[name] for name in names]))


def _split(num_videos: int, video_index: np.ndarray, label_index: np.ndarray,
           segments: np.ndarray, scores: np.ndarray) -> list[Columns]:
    """Return the detections of each video, in the order of the file."""
    order = np.argsort(video_index, kind='stable')
    borders = np.searchsorted(video_index[order], np.arange(num_videos + 1))
    parts = [order[first:last] for first, last in zip(borders, borders[1:])]
    return [dict(start=segments[rows, 0].tolist(), end=segments[rows, 1].tolist(),
                 label=label_index[rows].tolist(), score=scores[rows].tolist())
            for rows in parts]


def _videos(names: Sequence[str], truth: Mapping[str, VideoAnnotation], labels: Sequence[str],
            detections: Sequence[Columns]) -> list[dict[str, Any]]:
    number = {label: index for index, label in enumerate(labels)}
    videos = []
    for name, found in zip(names, detections):
        video = truth.get(name)
        videos.append(dict(
            name=name, file=None, duration=video.duration_seconds if video else None,
            truth=dict(start=video.segments_seconds[:, 0].tolist() if video else [],
                       end=video.segments_seconds[:, 1].tolist() if video else [],
                       label=[number[label] for label in video.labels] if video else []),
            detections=found))
    return videos


def _notes(subset: str, rule_counts: Mapping[str, int]) -> list[str]:
    """Return the rules of the score, and the number of detections that they leave out."""
    notes = [f'Subset {subset or "without a name"}, ActivityNet protocol: in the order of scores, '
             'each detection takes the free ground truth of its class with the highest tIoU.']
    kinds = dict(unknown_labels='have a label without ground truth',
                 excluded_videos='are in excluded videos',
                 outside_videos='are in videos without ground truth',
                 empty_detections='do not start before they end')
    return notes + [f'Detections that {kind}: {rule_counts[name]}.' for name, kind in kinds.items()
                    if rule_counts.get(name)]
