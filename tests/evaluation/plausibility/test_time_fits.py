"""Readings of times: the right unit is found, and weak detectors cause no alarm."""
import numpy as np
import pytest

from sbp_tad.annotations import VideoAnnotation
from sbp_tad.evaluation.corrections import convert_times, unconvert_times
from sbp_tad.evaluation.detection_columns import Detections
from sbp_tad.evaluation.plausibility.time_fits import fit, take_sample
from sbp_tad.evaluation.plausibility.times import time_findings
from sbp_tad.evaluation.time_units import SECONDS, TimeUnit


def make_truth(rng, num_videos=12, instances=6, fps=25.0):
    """Videos of 60 to 200 s with instances of 2 to 8 s."""
    videos = {}
    for number in range(num_videos):
        duration = rng.uniform(60, 200)
        start = rng.uniform(0, duration - 8, instances)
        segments = np.stack([start, start + rng.uniform(2, 8, instances)], axis=1)
        videos[f'v{number}'] = VideoAnnotation(f'v{number}', 'test', duration, fps, None,
                                               segments, ('a', ) * instances)
    return videos


def detect(rng, truth, skill):
    """Two detections per instance: near it with the probability ``skill``, or anywhere."""
    results = {}
    for name, video in truth.items():
        length = np.repeat(np.ptp(video.segments_seconds, axis=1), 2)
        near = np.repeat(video.segments_seconds[:, 0], 2) + rng.normal(0, 0.1, length.shape)
        far = rng.uniform(0, video.duration_seconds - length)
        start = np.where(rng.random(length.shape) < skill, near, far)
        results[name] = [dict(segment=[one, one + span], label='a', score=score) for
                         one, span, score in zip(start, length, rng.random(length.shape))]
    return Detections.from_results(results)


@pytest.mark.parametrize('right', [
    'minutes', 'hours', 'milliseconds', 'microseconds', 'frames', 'fraction', 'percent', 16.0])
@pytest.mark.parametrize('given', ['seconds', 'frames'])
def test_the_right_unit_is_named_for_a_middling_detector(right, given):
    rng = np.random.default_rng(1)
    right = TimeUnit('frames', frames_per_step=right) if right == 16.0 else TimeUnit(right)
    given = TimeUnit(given)
    truth = make_truth(rng)
    raw = unconvert_times(detect(rng, truth, 0.6), truth, right)
    found = time_findings(truth, convert_times(raw, truth, given), given)
    if right == given:
        assert found == []
    else:
        assert f' {right.options} ' in found[0].cure and len(found) == 1


@pytest.mark.parametrize('skill', [0, 0.05, 0.2, 0.35, 0.5])
def test_a_weak_detector_causes_no_alarm(skill):
    for seed in range(3):
        rng = np.random.default_rng(seed)
        truth = make_truth(rng)
        assert time_findings(truth, detect(rng, truth, skill)) == []


def test_rates_of_videos_that_differ_need_the_frames_per_step():
    rng = np.random.default_rng(2)
    truth = {**make_truth(rng, 6, fps=25.0),
             **{name + 'b': video for name, video in make_truth(rng, 6, fps=30.0).items()}}
    raw = unconvert_times(detect(rng, truth, 0.8), truth, TimeUnit('frames', None, 8))
    assert '--frames-per-step 8 ' in time_findings(truth, raw)[0].cure


def test_several_detections_on_one_instance_count_once():
    truth = {'v': VideoAnnotation('v', 'test', 100.0, None, None,
                                  np.array([[0., 4], [20, 24], [40, 44], [60, 64]]), ('a', ) * 4)}
    found = Detections.from_results({'v': [dict(segment=[0, 4], label='a', score=1.0)] * 4})
    sample = take_sample(truth, found)
    assert fit(sample, sample.best.segments_seconds).share == 0.25


@pytest.mark.parametrize('form, change', [
    ('[start, length]', lambda start, end: (start, end - start)),
    ('[centre, length]', lambda start, end: ((start + end) / 2, end - start))])
def test_forms_of_segments_are_told_apart(form, change):
    rng = np.random.default_rng(3)
    truth = make_truth(rng)
    results = detect(rng, truth, 0.9).to_results()
    for rows in results.values():
        for row in rows:
            row['segment'] = [float(time) for time in change(*row['segment'])]
    found = time_findings(truth, Detections.from_results(results), SECONDS)
    assert f'as {form}, ' in found[0].fault and found[0].fault.endswith('[start, end] in the file.')


@pytest.mark.parametrize('rate', [90000.0, 0.5, 7.3])
def test_any_constant_rate_is_found(rate):
    rng = np.random.default_rng(4)
    truth = make_truth(rng)
    raw = unconvert_times(detect(rng, truth, 0.9), truth, TimeUnit('frames', rate))
    found, = time_findings(truth, raw)
    assert float(found.cure.split()[4]) == pytest.approx(rate, rel=0.01)
