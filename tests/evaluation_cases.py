"""Drawn evaluation problems, and their score, for the tests of both protocols."""
import numpy as np
from hypothesis import strategies as st

from sbp_tad.annotations import VideoAnnotation
from sbp_tad.evaluation.detections import Detections
from sbp_tad.evaluation.evaluate import evaluate_detections
from sbp_tad.evaluation.options import EvaluationOptions

# A coarse grid, so that ties of tIoU, duplicates and exact thresholds are common.
_times = st.tuples(st.integers(0, 12), st.integers(0, 8)).map(lambda x: (x[0] / 10, sum(x) / 10))
_instance = st.tuples(st.sampled_from('vw'), st.sampled_from(['a', 'b', 'Ambiguous']), _times)
_detection = st.tuples(st.sampled_from('uvw'), st.sampled_from('abc'), _times,
                       st.integers(-3, 3).map(float))


@st.composite
def cases(draw):
    """(instances, detections): ties, duplicates, empty segments, unknown videos and labels."""
    instances = [('v', 'a', 0.0, 0.5)]  # there is always something to find
    instances += [(video, label, *times) for video, label, times in draw(
        st.lists(_instance, max_size=12))]
    detections = [(video, label, *times, score) for video, label, times, score in draw(
        st.lists(_detection, max_size=20))]
    for rows in instances, detections:  # whole rows twice
        rows += draw(st.lists(st.sampled_from(rows), max_size=3)) if rows else []
    return sorted(instances, key=lambda x: x[0]), detections


def annotations_of(instances, videos=()):
    """Tuples (video, label, start, end) to what ``read_annotations`` returns."""
    names = dict.fromkeys([*videos, *(x[0] for x in instances)])
    return {name: VideoAnnotation(
        name, 'test', None, None, None,
        np.array([x[2:] for x in instances if x[0] == name], dtype=np.float64).reshape(-1, 2),
        tuple(x[1] for x in instances if x[0] == name)) for name in names}


def detections_of(detections):
    """Tuples (video, label, start, end, score) to columns, the order kept."""
    videos = sorted({x[0] for x in detections})
    labels = sorted({x[1] for x in detections})
    return Detections(tuple(videos), tuple(labels),
                      np.array([videos.index(x[0]) for x in detections], dtype=np.int64),
                      np.array([labels.index(x[1]) for x in detections], dtype=np.int64),
                      np.array([x[2:4] for x in detections], dtype=np.float64).reshape(-1, 2),
                      np.array([x[4] for x in detections], dtype=np.float64))


def score(instances, detections, videos=(), **options):
    """Evaluate tuples."""
    return evaluate_detections(annotations_of(instances, videos), detections_of(detections),
                               EvaluationOptions(**options))
