"""Options check themselves; thresholds are the decimals that were asked for."""
import pytest

from sbp_tad.evaluation.errors import EvaluationError
from sbp_tad.evaluation.options import EvaluationOptions, parse_tiou_thresholds, threshold_name


@pytest.mark.parametrize('text, expected', [
    ('0.3:0.7:0.1', (0.3, 0.4, 0.5, 0.6, 0.7)),
    ('0.5:0.95:0.05', (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)),
    ('0.1:0.9:0.1', (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)),
    ('0.3:0.75:0.2', (0.3, 0.5, 0.7)),
    ('0.5:0.5:0.1', (0.5,)),
    ('0.5', (0.5,)),
    ('0.7, 0.3', (0.7, 0.3)),
])
def test_thresholds_are_exact_decimals(text, expected):
    assert parse_tiou_thresholds(text) == expected


@pytest.mark.parametrize('text', ['', 'a', '0.3:0.7', '0.3:0.7:0.1:2', '0.3,,0.5', '0.3;0.5'])
def test_unreadable_thresholds(text):
    with pytest.raises(EvaluationError, match='must be a list like 0.3,0.5 or a range'):
        parse_tiou_thresholds(text)


@pytest.mark.parametrize('text', ['0.7:0.3:0.1', '0.3:0.7:0', '0.3:0.7:-0.1', '0.3:nan:0.1',
                                  '0.3:inf:0.1', '0.3:30:0.1', '0.3:0.7:1e-12'])
def test_impossible_ranges(text):
    with pytest.raises(EvaluationError, match='needs start <= end <= 1 and a step above 0'):
        parse_tiou_thresholds(text)


@pytest.mark.parametrize('thresholds', [(), (0.0,), (1.1,), (0.5, float('nan')), (-0.5,)])
def test_thresholds_outside_the_range(thresholds):
    with pytest.raises(EvaluationError, match=r'must lie in \(0, 1\], at least one'):
        EvaluationOptions(tiou_thresholds=thresholds)


def test_repeated_thresholds():
    with pytest.raises(EvaluationError, match='thresholds must differ'):
        EvaluationOptions(tiou_thresholds=(0.5, 0.5))


@pytest.mark.parametrize('name', ['protocol', 'outside_videos', 'unknown_labels',
                                  'empty_detections', 'duplicate_ground_truth',
                                  'zero_length_ground_truth'])
def test_unknown_choices(name):
    with pytest.raises(EvaluationError, match=f"{name} must be one of .*, got 'maybe'"):
        EvaluationOptions(**{name: 'maybe'})


@pytest.mark.parametrize('name', ['ignored_labels', 'excluded_videos'])
def test_a_single_string_is_not_a_sequence_of_names(name):
    with pytest.raises(EvaluationError, match=f'{name} must be a sequence'):
        EvaluationOptions(**{name: 'Ambiguous'})


def test_lists_become_tuples():
    options = EvaluationOptions(tiou_thresholds=[0.5], ignored_labels=['x'], excluded_videos=['v'])
    assert (options.tiou_thresholds, options.ignored_labels, options.excluded_videos) == (
        (0.5,), ('x',), ('v',))


def test_threshold_names_never_collide():
    assert [threshold_name(tiou) for tiou in (0.3, 0.55, 1.0, 0.301, 1 / 3)] == [
        '0.30', '0.55', '1.00', '0.301', '0.3333333333333333']
