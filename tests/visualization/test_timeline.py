"""The timeline picture: lanes, shades, and a PNG that shows the given segments."""
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from sbp_tad.annotations import VideoAnnotation
from sbp_tad.visualization import ScoredSegments, draw_timeline
from sbp_tad.visualization.errors import VisualizationError
from sbp_tad.visualization.palette import OTHER_COLOUR, PALETTE, shade
from sbp_tad.visualization.sheet import assign_lanes

CLASSES = ('run', 'jump', 'throw')


def truth(segments=((1, 3), (5, 9)), labels=('run', 'jump')):
    return VideoAnnotation('video', 'test', 10.0, 12.0, 120,
                           np.array(segments, dtype=float).reshape(-1, 2), tuple(labels))


def found(segments=((1, 3), (5, 8)), labels=('run', 'jump'), scores=(0.9, 0.4)):
    return ScoredSegments(np.array(segments, dtype=float), labels, np.array(scores))


def draw(tmp_path, ground_truth=None, predictions=None, **options):
    path = tmp_path / 'deep' / 'timeline.png'
    draw_timeline(path, 'video', 10.0, truth() if ground_truth is None else ground_truth,
                  found() if predictions is None else predictions, CLASSES, **options)
    return imread(path)[..., :3]


def pixels_of(image, colour):
    return int((np.abs(image - np.array(to_rgb(colour))).max(axis=2) < 0.01).sum())


segment_lists = st.lists(st.tuples(st.floats(0, 50), st.floats(0.01, 10)), max_size=15).map(
    lambda rows: np.array([(start, start + length) for start, length in rows]).reshape(-1, 2))


@settings(deadline=None, max_examples=60)
@given(segment_lists)
def test_segments_of_one_lane_never_overlap_and_lanes_are_not_wasted(segments):
    lanes = assign_lanes(segments)
    for i, (start, end) in enumerate(segments):
        met = [lanes[j] for j in range(i) if segments[j, 0] < end and start < segments[j, 1]]
        assert lanes[i] not in met
        assert set(range(lanes[i])) <= set(met)


def test_touching_segments_share_a_lane():
    assert assign_lanes(np.array([[0, 2], [2, 4], [1, 3]])).tolist() == [0, 0, 1]


def test_shade_goes_from_nearly_white_to_the_colour():
    assert shade('#4477AA', 1.0) == pytest.approx(to_rgb('#4477AA'))
    assert min(shade('#4477AA', 0.0)) > 0.9
    assert shade('#4477AA', 0.3)[0] > shade('#4477AA', 0.6)[0]


def test_best_first_drops_low_scores_and_keeps_ties_in_order():
    best = found(((0, 1), (1, 2), (2, 3), (3, 4)), ('a', 'b', 'c', 'd'),
                 (0.5, 0.1, 0.9, 0.5)).best_first(0.2)
    assert list(best.labels) == ['c', 'a', 'd'] and best.scores.tolist() == [0.9, 0.5, 0.5]
    assert best.segments_seconds.tolist() == [[2, 3], [0, 1], [3, 4]]


def test_picture_shows_annotated_classes_in_their_colours(tmp_path):
    image = draw(tmp_path)
    assert pixels_of(image, PALETTE[0]) > 2000 and pixels_of(image, PALETTE[1]) > 2000
    assert pixels_of(image, PALETTE[2]) == 0  # no throw in this video


def test_detection_is_shaded_by_its_score(tmp_path):
    image = draw(tmp_path)
    assert pixels_of(image, shade(PALETTE[1], 0.4)) > 2000
    assert pixels_of(draw(tmp_path, score_threshold=0.5), shade(PALETTE[1], 0.4)) == 0


def test_overlapping_detections_make_the_picture_taller(tmp_path):
    apart = draw(tmp_path, predictions=found(((1, 3), (5, 8)), ('run', 'run')))
    overlapping = draw(tmp_path, predictions=found(((1, 6), (5, 8)), ('run', 'run')))
    assert len(overlapping) > len(apart)


def test_many_detections_stay_within_a_page(tmp_path):
    rng = np.random.default_rng(0)
    starts = rng.uniform(0, 5, 200)
    image = draw(tmp_path, predictions=found(np.stack([starts, starts + 4], 1), ['run'] * 200,
                                             rng.uniform(0.3, 1, 200)))
    assert len(image) < 150 * 11


def test_label_that_is_no_class_is_grey(tmp_path):
    image = draw(tmp_path, ground_truth=truth(labels=('run', 'Ambiguous')))
    assert pixels_of(image, OTHER_COLOUR) > 2000


def test_nothing_annotated_and_nothing_found_is_still_a_picture(tmp_path):
    image = draw(tmp_path, truth((), ()), found(np.empty((0, 2)), (), ()))
    assert image.shape[1] == 1800


def test_thumbnails_fill_a_strip_undistorted(tmp_path):
    plain = draw(tmp_path)
    frames = [np.full((40, 40, 3), (0, 255, 0), np.uint8)] * 8
    image = draw(tmp_path, thumbnails=frames)
    rows, columns = np.nonzero(np.abs(image - [0, 1, 0]).max(axis=2) < 0.01)
    height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
    assert width / height == pytest.approx(8, rel=0.05)
    assert len(image) - len(plain) == pytest.approx(height, abs=4)


@pytest.mark.parametrize('duration', [0, -1, float('nan'), float('inf')])
def test_bad_duration_is_a_sentence(tmp_path, duration):
    with pytest.raises(VisualizationError, match='expected a positive duration in seconds, got'):
        draw_timeline(tmp_path / 'x.png', 'x', duration, truth(), found(), CLASSES)


@pytest.mark.parametrize('labels, scores, message', [
    (('run',), (0.9, 0.4), r'got 2 segments, 1 labels and 2 scores'),
    (('run', 'jump'), (0.9,), r'got 2 segments, 2 labels and 1 scores'),
    (('run', 'jump'), (0.9, float('nan')), r'must be finite numbers; a NaN'),
])
def test_segments_that_do_not_fit_are_a_sentence(labels, scores, message):
    with pytest.raises(VisualizationError, match=message):
        found(labels=labels, scores=scores)


def test_without_an_annotation_its_row_is_left_out(tmp_path):
    path = tmp_path / 'timeline.png'
    draw_timeline(path, 'video', 10.0, None, found(), CLASSES)
    image, annotated = imread(path)[..., :3], draw(tmp_path)
    assert len(image) < len(annotated) - 30
    assert pixels_of(image, shade(PALETTE[0], 0.9)) == pytest.approx(
        pixels_of(annotated, shade(PALETTE[0], 0.9)), rel=0.05)
