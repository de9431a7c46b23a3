"""Detections for tests: drawn ones, and what two published kernels were given and gave."""
import json
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent
PUBLISHED = {'sample': HERE / 'data/segments/softnms_cases.json',
             'shared': HERE.parents[1] / 'shared/data/softnms/softnms_cases_public.json'}
PUBLISHED_SOURCES = tuple(PUBLISHED)


def detections(number, classes, seed, duration=100.0, quantum=None):
    """Random segments, scores and labels; a quantum makes ties and touching ends."""
    rng = np.random.default_rng(seed)
    start = rng.uniform(0, duration, number)
    segments = np.stack([start, start + rng.uniform(0, 20, number)], axis=1)
    scores = rng.random(number)
    if quantum:
        segments, scores = np.round(segments / quantum) * quantum, np.round(scores, 1)
    return segments, scores, rng.integers(0, classes, number) * 3 - 1


def published_cases(source):
    """Cases of one of PUBLISHED_SOURCES."""
    if not PUBLISHED[source].exists():
        pytest.skip(f'{PUBLISHED[source].name}: the folder shared/data is not beside the '
                    'repository')
    return json.loads(PUBLISHED[source].read_text())['cases']


def published_options(case):
    """The options of a case that soft_nms takes."""
    options = {key: case['params'][key] for key in ('sigma', 'min_score', 'iou_threshold')}
    return {**options, 'max_segments': case['params']['max_seg_num']}
