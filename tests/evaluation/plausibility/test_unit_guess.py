"""Units of detections that overlap nothing, by the lengths of the videos."""
import numpy as np
import pytest

from sbp_tad.annotations import VideoAnnotation
from sbp_tad.evaluation.detection_columns import Detections
from sbp_tad.evaluation.plausibility.finding import ERROR
from sbp_tad.evaluation.plausibility.unit_guess import guess_unit
from sbp_tad.evaluation.time_units import SECONDS, TimeUnit


def guess(end, duration=100.0, fps=25.0, given=SECONDS):
    truth = {'v': VideoAnnotation('v', 'test', duration, fps, None, np.array([[0., 1]]), ('a', ))}
    raw = Detections.from_results({'v': [dict(segment=[0, end], label='a', score=1.0)]})
    return guess_unit(ERROR, 'Bad.', truth, raw, given)


@pytest.mark.parametrize('end, duration, words, cure', [
    (2400, 100., 'frames', 'Add --time-unit frames to convert them.'),
    (95e3, 100., 'milliseconds', 'Add --time-unit milliseconds to convert them.'),
    (95e6, 100., 'microseconds', 'Add --time-unit microseconds to convert them.'),
    (95e9, 100., 'nanoseconds', 'Add --time-unit nanoseconds to convert them.'),
    (98, 20., 'percent of the video', 'Add --time-unit percent to convert them.'),
    (0.02, 70., 'hours', 'Add --time-unit hours to convert them.'),
    (0.9, 60., 'fractions of the video or minutes', 'Give the right one to --time-unit.'),
    (600, 100., 'frames or feature steps', 'with the number of them per second (about 6).')])
def test_the_unit_follows_from_the_last_times(end, duration, words, cure):
    found = guess(end, duration)
    assert found.fault == f'Bad. The times look like {words}.' and found.cure.endswith(cure)


@pytest.mark.parametrize('end, rate', [(3100, 30), (2300, 24), (5700, 60), (1200, 12)])
def test_without_fps_the_annotation_is_to_be_completed(end, rate):
    found = guess(end, fps=None)
    assert "no 'fps' of 'v': write the 'fps' of each video" in found.fault
    assert found.cure.endswith(f'(about {rate}).')


def test_parts_of_videos_without_duration_are_not_taken_for_minutes():
    found = guess(0.9, duration=None)
    assert "has no 'duration' of 'v'" in found.fault and found.cure == ''


def test_a_unit_that_was_given_is_not_recommended_again():
    found = guess(95e3, given=TimeUnit('milliseconds'))
    assert found.cure == '' and found.fault.endswith('same videos. Check --time-unit milliseconds.')
    assert guess(95e6, given=TimeUnit('milliseconds')).cure == \
        'Give --time-unit microseconds instead of --time-unit milliseconds.'
    assert guess(600, given=TimeUnit('frames')).cure == ''
