"""Figures of strategies over their seeds."""
import pytest

from sbp_tad.comparison.errors import ComparisonError
from sbp_tad.comparison.runs import write_json
from sbp_tad.comparison.summary import read_results, samples_until, shorten, summarize


def run(strategy, seed, mAP, **figures):
    curve = [dict(samples=100, mAP=mAP / 2), dict(samples=200, mAP=mAP)]
    return dict(strategy=strategy, seed=seed, mode='full', keep_ratio=1.0, mAP=mAP, curve=curve,
                saved_backbone_bytes=80, saved_model_bytes=100, peak_memory_bytes=1000,
                seconds_per_update=0.5, cpu_seconds_per_update=0.25, updates=20, samples=200,
                **figures)


def step(strategy, model_bytes, ratio):
    return dict(strategy=strategy, saved_backbone_bytes=model_bytes // 2,
                saved_model_bytes=model_bytes, step_peak_bytes=model_bytes * 3,
                step_seconds=ratio / 10, step_wall_seconds=ratio / 5, step_time_ratio=ratio)


FULL = [run('full', 0, 0.6), run('full', 1, 0.8)]


def test_mean_deviation_and_the_difference_over_the_seeds_that_both_have():
    direct = [run('direct:0.25', seed, mAP) for seed, mAP in ((0, 0.5), (1, 0.6), (2, 0.9))]
    row, = summarize([*FULL, *direct], [], ['direct:0.25'])
    assert row.seeds == [0, 1, 2] and row.mAPs == [0.5, 0.6, 0.9]
    assert row.mAP == pytest.approx(2 / 3)
    assert row.mAP_deviation == pytest.approx(0.2082, abs=1e-4)  # of a sample
    assert row.mAP_difference == pytest.approx((-0.1 - 0.2) / 2)
    assert row.step_time_ratio is None and row.samples_to_target is None
    full, = summarize(FULL[:1], [], ['full'])
    assert full.mAP_deviation is None and full.mAP_difference == 0


def test_measured_steps_stand_above_the_figures_of_the_runs():
    measured = [step('full', 400, 1.0), step('direct:0.25', 100, 0.5)]
    full, direct = summarize([*FULL, run('direct:0.25', 0, 0.5)], measured,
                             ['full', 'direct:0.25'])
    assert (direct.saved_model_bytes, direct.saved_model_ratio) == (100, 0.25)
    assert (direct.step_peak_ratio, direct.step_time_ratio) == (0.25, 0.5)
    assert (direct.peak_memory_bytes, direct.peak_memory_ratio) == (1000, 1.0)
    assert full.saved_backbone_bytes == 200 and full.saved_backbone_ratio == 1
    alone, = summarize([], measured, ['direct:0.25'])  # nothing is trained yet
    assert alone.mAP is None and alone.saved_model_ratio == 0.25 and alone.seeds == []


def test_without_full_there_are_no_ratios_and_unknown_names_are_left_out():
    row, = summarize([run('frozen', 0, 0.3)], [], ['frozen', 'dropit:0.25'])
    assert (row.saved_model_bytes, row.saved_model_ratio, row.mAP_difference) == (100, None, None)
    with pytest.raises(ComparisonError, match='no run is finished .* of direct; train or measure'):
        summarize(FULL, [], ['direct'])
    with pytest.raises(ComparisonError, match='of any strategy'):
        summarize([], [], [])


def test_samples_to_a_target_are_of_the_first_validation_that_reached_it():
    curve = [dict(samples=samples, mAP=mAP) for samples, mAP in ((8, 0.2), (16, 0.5), (24, 0.4))]
    assert [samples_until(curve, target) for target in (0.2, 0.3, 0.5, 0.6)] == [8, 16, 16, None]
    rows = [run('full', 0, 0.6), run('full', 1, 0.4), run('full', 2, 0.2)]
    row, = summarize(rows, [], ['full'], target=0.3)
    assert (row.samples_to_target, row.seeds_at_target) == (150, 2)
    row, = summarize(rows, [], ['full'], target=0.9)
    assert (row.samples_to_target, row.seeds_at_target) == (None, 0)
    with pytest.raises(ComparisonError, match=r'must be in \(0, 1\], got 60; 0.5 is 50 %'):
        summarize(rows, [], ['full'], target=60)


def test_results_are_read_but_for_those_put_aside(tmp_path):
    for folder, row in (('full/seed_1', FULL[1]), ('full/seed_0', FULL[0]),
                        ('full/seed_0.old1', run('full', 0, 0.1)),
                        ('direct_0.25/seed_0', run('direct:0.25', 0, 0.5))):
        write_json(tmp_path / folder / 'result.json', row)
    (tmp_path / 'full/seed_2').mkdir()
    found = [(row['strategy'], row['seed'], row['mAP']) for row in read_results(tmp_path)]
    assert found == [('direct:0.25', 0, 0.5), ('full', 0, 0.6), ('full', 1, 0.8)]


def test_a_short_result_has_the_scores_of_its_end():
    row = dict(seed=0, curve=[dict(samples=8, mAP=0.1, scores={'a/b': 0.1}),
                              dict(samples=16, mAP=0.2, scores={'a/b': 0.2})])
    assert shorten(row) == dict(seed=0, scores={'a/b': 0.2}, curve=[
        dict(samples=8, mAP=0.1), dict(samples=16, mAP=0.2)])
    assert 'scores' in row['curve'][0]
