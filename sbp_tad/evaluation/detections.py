"""Files of detections.

The format is the submission of the ActivityNet challenge,
``{'results': {video: [{'segment': [start, end], 'label': str, 'score':
float}]}}``. The outer ``results`` is optional; files may be gzipped. Times
are in seconds. Formats of other code bases are read by
:mod:`sbp_tad.evaluation.foreign_formats`.
"""
from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

from sbp_tad.evaluation.detection_columns import Detections
from sbp_tad.evaluation.errors import EvaluationError
from sbp_tad.evaluation.foreign_formats import READERS, results_of_list
from sbp_tad.evaluation.json_files import read_json

OWN_BEGINNING = b'{"version": "sbp_tad", "results"'


def read_detections(path: str | Path, label_key: str | None = None) -> Detections:
    """Read a file of detections.

    Args:
        path: ``.json``, ``.json.gz``, ``.csv``, ``.tsv``, ``.txt`` or ``.pkl``.
        label_key: key of the label in each detection of a JSON file, for
            example ``'verb'`` in a submission to EPIC-Kitchens; None takes
            ``'label'``.

    Raises:
        EvaluationError: the file is missing or malformed; the message names
            file, video and entry.
    """
    reader = READERS.get(Path(path).suffix.lower())
    results = _json_results(path) if reader is None else reader(path)
    if label_key is None:
        _refuse_submission_of_epic_kitchens(results, path)
    else:
        _refuse_absent_key(results, path, label_key)
    return Detections.from_results(results, path, label_key or 'label')


def _json_results(path: str | Path) -> dict[str, Any]:
    """Return ``{video: [...]}`` of a JSON file."""
    content = read_json(path, 'detections')
    results = content.get('results', content) if isinstance(content, dict) else content
    if isinstance(results, list):
        if isinstance(content, dict) and len(content) == 1 and _is_plain_video(results):
            return content  # plain form with a video that is called "results"
        return results_of_list(results, path)
    if not isinstance(results, dict):
        raise EvaluationError(
            f'{path}: expected {{"results": {{video: [...]}}}} or {{video: [...]}}, got '
            f'{type(results).__name__}.')
    if 'database' in results and isinstance(results['database'], dict):
        raise EvaluationError(
            f'{path} holds annotations ("database"), not detections; were the two files swapped?')
    if results is content and not isinstance(content.get('version', []), list):
        raise EvaluationError(
            f'{path} has a "version" but no "results"; it holds {", ".join(map(str, content))}. '
            'Expected {"results": {video: [...]}} or {video: [...]}.')
    return results


def _is_plain_video(entries: list[Any]) -> bool:
    """Return True for detections of one video, which do not name a video."""
    return all(isinstance(entry, dict) and 'segment' in entry and not
               {'video', 'video_id', 'video-id', 'video_name'} & entry.keys() for entry in entries)


def _refuse_submission_of_epic_kitchens(results: dict[str, Any], path: str | Path) -> None:
    first = next((entries[0] for entries in results.values()
                  if isinstance(entries, list) and entries), None)
    if isinstance(first, dict) and 'label' not in first and {'verb', 'noun'} <= first.keys():
        raise EvaluationError(
            f'{path} is a submission to EPIC-Kitchens, whose detections have a verb, a noun and '
            'an action. Choose one with --label-key verb, noun or action. If the annotation has '
            'names instead of numbers, add --labels-by-index FILE with the published classes '
            '(EPIC_100_verb_classes.csv).')


def _refuse_absent_key(results: dict[str, Any], path: str | Path, label_key: str) -> None:
    entries = [entry for found in results.values() if isinstance(found, list)
               for entry in found if isinstance(entry, dict)]
    if entries and not any(label_key in entry for entry in entries):
        raise EvaluationError(f'{path}: no detection has the key {label_key!r}, only '
                              f'{", ".join(map(str, entries[0]))}. Correct --label-key.')


def is_own_file(path: str | Path) -> bool:
    """Return True if :func:`write_detections` wrote the file, whose times are in seconds."""
    if not str(path).endswith(('.json', '.json.gz')):
        return False
    with (gzip.open if str(path).endswith('.gz') else open)(path, 'rb') as file:
        return file.read(len(OWN_BEGINNING)) == OWN_BEGINNING


def write_detections(path: str | Path, detections: Detections) -> None:
    """Write ``{'results': ...}``; gzip it if the name ends in ``.gz``.

    Raises:
        EvaluationError: the file cannot be written.
    """
    content = json.dumps({'version': 'sbp_tad', 'results': detections.to_results(),
                          'external_data': {}}).encode()
    if Path(path).suffix == '.gz':
        content = gzip.compress(content, mtime=0)  # equal detections, equal bytes
    try:
        Path(path).write_bytes(content)
    except OSError as error:
        raise EvaluationError(
            f'Cannot write the detections to {path}: {error.strerror}.') from error
