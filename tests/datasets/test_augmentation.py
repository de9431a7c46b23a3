"""Rotation: one angle a window, sizes kept, nothing black."""
import numpy as np
import pytest

from sbp_tad.datasets.augmentation import RandomRotation
from sbp_tad.datasets.errors import DatasetError
from sbp_tad.datasets.transforms import build_pipeline


def frames(number=3):
    """A bright bar from the centre upwards."""
    image = np.full((40, 40, 3), 50, dtype=np.uint8)
    image[:20, 18:22] = 250
    return [image.copy() for _ in range(number)]


def bar_degrees(image):
    """Return the angle of the bar, counter-clockwise from upwards."""
    rows, columns = np.nonzero(image[8:32, 8:32, 0] > 150)
    return np.degrees(np.arctan2(11.5 - columns.mean(), 11.5 - rows.mean()))


def test_all_frames_turn_by_one_angle_within_the_limits():
    angles = []
    for seed in range(40):
        np.random.seed(seed)
        turned = RandomRotation(45, probability=1.0)({'imgs': frames()})['imgs']
        assert all(np.array_equal(image, turned[0]) for image in turned)
        assert turned[0].shape == (40, 40, 3) and turned[0].dtype == np.uint8
        assert turned[0].min() >= 50  # a reflection, no black corner
        angles.append(bar_degrees(turned[0]))
    assert -48 < min(angles) < -20 and 20 < max(angles) < 48


@pytest.mark.parametrize('options', [dict(probability=0.0), dict(max_degrees=0, probability=1.0)])
def test_frames_can_stay_as_they_are(options):
    results = RandomRotation(**options)({'imgs': frames()})
    assert all(np.array_equal(a, b) for a, b in zip(results['imgs'], frames()))


def test_half_of_the_windows_turn():
    np.random.seed(0)
    transform = RandomRotation(45, probability=0.5)
    turned = [not np.array_equal(transform({'imgs': frames(1)})['imgs'][0], frames(1)[0])
              for _ in range(200)]
    assert 70 < sum(turned) < 130


@pytest.mark.parametrize('options', [dict(max_degrees=-1), dict(probability=1.5)])
def test_settings_that_cannot_work_are_refused(options):
    with pytest.raises(DatasetError, match=r'max_degrees >= 0 and a probability in \[0, 1\], got'):
        RandomRotation(**options)


def test_the_photometric_distortion_of_daotad_is_built_by_name():
    """mmcv's RandomApply finds mmaction's transform, whatever scope a process has."""
    apply, = build_pipeline([dict(type='RandomApply', prob=1.0, transforms=[
        dict(type='ColorJitter', brightness=0.125, contrast=0.5, saturation=0.5, hue=0.07)])])
    np.random.seed(0)
    changed = apply({'imgs': frames(2)})['imgs']
    assert np.array_equal(changed[0], changed[1]) and not np.array_equal(changed[0], frames()[0])
