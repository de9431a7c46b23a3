"""The plots show the figures of the error analysis, also where some are missing."""
import numpy as np
import pytest
from evaluation_cases import annotations_of, detections_of
from matplotlib.image import imread

from sbp_tad.evaluation.error_analysis import analyze_errors
from sbp_tad.evaluation.error_kinds import ERROR_KINDS, KINDS
from sbp_tad.visualization.error_plots import (
    draw_false_negatives,
    draw_false_positives,
    draw_sensitivity,
    write_error_plots,
)
from sbp_tad.visualization.errors import VisualizationError

INSTANCES = [('v', 'a', 0, 2), ('v', 'a', 20, 24), ('w', 'b', 0, 10)]
DETECTIONS = [('v', 'a', 0, 2, .9), ('v', 'a', 50, 60, .8), ('v', 'a', 20, 24, .7),
              ('w', 'b', 5, 15, .9)]


@pytest.fixture(scope='module')
def analysis():
    return analyze_errors(detections_of(DETECTIONS), annotations_of(INSTANCES))


def heights(axes):
    return [bar.get_height() for bar in axes.patches]


def test_profile_and_gain_are_drawn(analysis):
    shares, gains = draw_false_positives(analysis).axes
    drawn = np.array(heights(shares)).reshape(len(KINDS), -1)
    np.testing.assert_allclose(drawn / 100, np.nan_to_num(analysis.false_positive_profile.T))
    assert [tick.get_text() for tick in shares.get_xticklabels()][::9] == ['1G', '10G']
    widths = [bar.get_width() / 100 for bar in gains.patches]
    assert widths == pytest.approx([analysis.map_gain[kind] for kind in ERROR_KINDS])
    assert 'double detection' in [tick.get_text() for tick in gains.get_yticklabels()]


@pytest.mark.parametrize('draw, name', [(draw_sensitivity, 'sensitivity'),
                                        (draw_false_negatives, 'false_negatives')])
def test_buckets_are_drawn_and_empty_ones_stay_empty(analysis, draw, name):
    length, coverage, number = draw(analysis).axes
    expected = np.array(list(getattr(analysis, name)['length'].values()))
    np.testing.assert_allclose(heights(length), 100 * np.nan_to_num(expected))
    written = [text.get_text() for text in length.texts]
    assert [text == '' for text in written] == np.isnan(expected).tolist()
    assert heights(coverage) == [0] * 5  # no duration is known
    assert [tick.get_text() for tick in number.get_xticklabels()] == [
        'XS\n1\n(1)', 'S\n2-40\n(2)', 'M\n41-80\n(0)', 'L\n> 80\n(0)']
    assert length.get_xticklabels()[1].get_text() == 'S\n3-6 s\n(1)'


def test_files_are_written(analysis, tmp_path):
    paths = write_error_plots(tmp_path / 'new' / 'folder', analysis)
    assert [path.name for path in paths] == [
        'false_positives.png', 'sensitivity.png', 'false_negatives.png']
    for path in paths:
        picture = imread(path)
        assert picture.shape[1] == 1800 and picture.min() < 0.5 < picture.mean()


def test_a_folder_that_cannot_be_made_is_named(analysis, tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(VisualizationError, match='Cannot write the plot to .*file/x/'):
        write_error_plots(tmp_path / 'file' / 'x', analysis)
