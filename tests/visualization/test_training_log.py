"""Logs of mmengine: resumed runs become one run, tests are left out."""
import json

import numpy as np
import pytest

from sbp_tad.visualization.errors import VisualizationError
from sbp_tad.visualization.training_log import read_training_log


def train(iteration, loss, **more):
    return dict(loss=loss, time=0.1, iter=iteration, epoch=1, step=iteration, **more)


def validation(value):
    return {'tad/average_mAP': value, 'time': 9.0, 'step': 1}


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(''.join(json.dumps(row) + '\n' for row in rows))
    return path


def test_curves_stand_over_iterations_and_validations_at_the_last_one(tmp_path):
    path = write(tmp_path / 'mine/20260101_000000/vis_data/scalars.json',
                 [train(10, 2.0), train(20, 1.0), validation(0.3), train(30, 0.5, note='x'),
                  validation(0.4)])
    log = read_training_log(path)
    assert log.name == 'mine' and set(log.curves) == {'loss', 'time', 'tad/average_mAP'}
    np.testing.assert_array_equal(log.curves['loss'], [[10, 20, 30], [2, 1, 0.5]])
    np.testing.assert_array_equal(log.curves['tad/average_mAP'], [[20, 30], [0.3, 0.4]])
    assert log.curves['time'][1].max() == 0.1


def test_a_resumed_run_goes_on_where_it_took_over_and_tests_are_left_out(tmp_path):
    folder = tmp_path / 'mine'
    write(folder / '20260101_000000/vis_data/scalars.json',
          [train(10, 3.0), train(20, 2.0), train(30, 9.0), validation(0.1)])
    write(folder / '20260102_000000/vis_data/scalars.json', [train(30, 1.0), train(40, 0.5)])
    write(folder / '20260103_000000/vis_data/scalars.json', [validation(0.9)])
    log = read_training_log(folder)
    np.testing.assert_array_equal(log.curves['loss'], [[10, 20, 30, 40], [3, 2, 1, 0.5]])
    assert log.name == 'mine' and 'tad/average_mAP' not in log.curves


@pytest.mark.parametrize('content, message', [
    ('{"iter": 1', 'is not a log of JSON lines'), ('[1]\n', 'expected an object per line'),
    ('{"tad/average_mAP": 1, "step": 1}\n', 'has no line of training'), ('', 'no line of')])
def test_files_that_are_no_log(tmp_path, content, message):
    path = tmp_path / 'scalars.json'
    path.write_text(content)
    with pytest.raises(VisualizationError, match=message):
        read_training_log(path)


def test_nothing_there(tmp_path):
    with pytest.raises(VisualizationError, match=r'has no \*/vis_data/scalars.json; give the'):
        read_training_log(tmp_path)
    with pytest.raises(VisualizationError, match='Cannot read the log .*No such file'):
        read_training_log(tmp_path / 'none.json')
