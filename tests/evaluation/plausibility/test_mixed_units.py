"""Videos in different units, and units that the annotation cannot convert."""
from dataclasses import replace

import numpy as np
import pytest

from sbp_tad.annotations import VideoAnnotation
from sbp_tad.evaluation.corrections import convert_times, unconvert_times
from sbp_tad.evaluation.detection_columns import Detections
from sbp_tad.evaluation.plausibility.finding import ERROR
from sbp_tad.evaluation.plausibility.times import time_findings
from sbp_tad.evaluation.time_units import SECONDS, TimeUnit

FRAMES = TimeUnit('frames')
RATES = (25.0, 29.97, 30.0, 24.0)


def make_truth(rng, num_videos=12):
    """Videos of 80 to 200 s and four frame rates, an action in every 8 s or so."""
    truth = {}
    for number in range(num_videos):
        duration = rng.uniform(80, 200)
        start = np.cumsum(rng.uniform(6, 14, 30))
        start = start[start < duration - 6]
        segments = np.stack([start, start + rng.uniform(2, 5, len(start))], axis=1)
        truth[f'v{number}'] = VideoAnnotation(f'v{number}', 'test', duration, RATES[number % 4],
                                              None, segments, ('a', ) * len(start))
    return truth


def detect(rng, truth, skill=0.8):
    """One detection per instance: on it with the probability ``skill``, or anywhere."""
    results = {}
    for name, video in truth.items():
        length = np.ptp(video.segments_seconds, axis=1)
        start = np.where(rng.random(len(video)) < skill,
                         video.segments_seconds[:, 0] + rng.normal(0, 0.2, len(video)),
                         rng.uniform(0, video.duration_seconds - length))
        results[name] = [dict(segment=[one, one + span], label='a', score=score)
                         for one, span, score in zip(start, length, rng.random(len(video)))]
    return Detections.from_results(results)


@pytest.fixture(name='case')
def fixture_case():
    rng = np.random.default_rng(0)
    truth = make_truth(rng)
    return truth, detect(rng, truth)


def without(truth, *names):
    return {name: replace(video, **dict.fromkeys(names)) for name, video in truth.items()}


@pytest.mark.parametrize('step', [1, 8])
@pytest.mark.parametrize('given', [SECONDS, TimeUnit('frames', 29.97)])
def test_rates_that_the_annotation_lacks_are_not_guessed(case, step, given):
    truth, right = case
    raw = unconvert_times(right, truth, TimeUnit('frames', frames_per_step=step))
    given = given if given == SECONDS else TimeUnit('frames', 29.97 / step)
    unknown = without(truth, 'fps')
    found, = time_findings(unknown, convert_times(raw, unknown, given), given)
    assert found.level == ERROR and "Write the 'fps' of each video" in found.fault
    assert 'without --fps' in found.cure


@pytest.mark.parametrize('name', ['fraction', 'percent'])
def test_durations_that_the_annotation_lacks_are_named(case, name):
    truth, right = case
    raw = unconvert_times(right, truth, TimeUnit(name))
    found, = time_findings(without(truth, 'duration_seconds', 'fps'), raw)
    assert found.level == ERROR and "no 'duration'" in found.fault
    assert found.cure in ('', f'Then give --time-unit {name}.')


@pytest.mark.parametrize('given', [SECONDS, FRAMES])
def test_half_of_the_videos_in_frames_are_named_whatever_was_given(case, given):
    truth, right = case
    truth = {name: replace(video, fps=25.0) for name, video in truth.items()}
    rows, frames = right.to_results(), unconvert_times(right, truth, FRAMES).to_results()
    mixed = Detections.from_results({name: (frames if int(name[1:]) % 2 else rows)[name]
                                     for name in rows})
    found, = time_findings(truth, convert_times(mixed, truth, given), given)
    assert found.level == ERROR and found.cure == ''
    assert 'The times of 6 of 12 videos look like' in found.fault
    assert 'Write the times of all videos in the same unit.' in found.fault


def test_steps_of_a_fixed_grid_are_named(case):
    truth, right = case
    raw = unconvert_times(right, truth, TimeUnit('fraction', frames_per_step=1 / 128))
    for given in SECONDS, TimeUnit('percent'):
        found, = time_findings(truth, convert_times(raw, truth, given), given)
        assert found.level == ERROR and found.cure == ''
        assert found.fault.endswith('Convert them to seconds: time x duration / 128.')


def test_one_rate_of_all_videos_is_named_though_the_annotation_has_others(case):
    truth, right = case
    raw = unconvert_times(right, truth, TimeUnit('frames', 30.0))
    found, = time_findings(truth, convert_times(raw, truth, FRAMES), FRAMES)
    assert found.cure == 'Give --time-unit frames --fps 30 instead of --time-unit frames.'


def test_a_middling_detector_shows_mixed_units_and_percent_without_durations_too():
    rng = np.random.default_rng(1)
    truth = make_truth(rng)
    right = detect(rng, truth, 0.45)
    rows, late = right.to_results(), unconvert_times(right, truth, TimeUnit('milliseconds'))
    mixed = Detections.from_results({name: (late.to_results() if int(name[1:]) % 2 else rows)[name]
                                     for name in rows})
    found, = time_findings(truth, mixed)
    assert 'videos look like milliseconds, those of the others like seconds' in found.fault
    found, = time_findings(without(truth, 'duration_seconds', 'fps'),
                           unconvert_times(right, truth, TimeUnit('percent')))
    assert "no 'duration'" in found.fault


@pytest.mark.parametrize('skill', [0, 0.2, 0.4, 0.8])
def test_right_times_cause_no_alarm_even_without_durations(skill):
    rng = np.random.default_rng(5)
    truth = make_truth(rng)
    right = detect(rng, truth, skill)
    assert time_findings(truth, right) == []
    assert time_findings(without(truth, 'duration_seconds', 'fps'), right) == []
