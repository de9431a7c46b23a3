"""A window's picture shows its frames, its segments and its padding."""
import numpy as np
import pytest
import torch
from matplotlib.image import imread
from mmengine.structures import InstanceData

from sbp_tad.structures import TADDataSample, Window
from sbp_tad.visualization.errors import VisualizationError
from sbp_tad.visualization.palette import PALETTE, shade
from sbp_tad.visualization.window_picture import draw_window


def sample(segments=(), labels=(), num_valid_frames=20):
    made = TADDataSample(metainfo=dict(video_id='a', error=None, window=Window(
        'a', 50.0, 20, 2, 10.0, num_valid_frames)))
    made.gt_instances = InstanceData(
        segments_seconds=torch.tensor(segments, dtype=torch.float64).reshape(-1, 2),
        labels=torch.tensor(labels, dtype=torch.int64))
    return made


def draw(tmp_path, inputs, data_sample=None, **options):
    path = tmp_path / 'deep' / 'window.png'
    draw_window(path, inputs, sample() if data_sample is None else data_sample, ('run', 'jump'),
                **options)
    return imread(path)[..., :3]


def green_frames():
    """20 frames (3, 20, 30, 40), the greener the later."""
    frames = np.zeros((3, 20, 30, 40), np.uint8)
    frames[1] = np.linspace(60, 250, 20).astype(np.uint8)[:, None, None]
    return frames


def test_frames_from_the_middles_of_equal_parts(tmp_path):
    image = draw(tmp_path, green_frames(), num_frames=5)
    rows, columns = np.nonzero((image[..., 0] < 0.01) & (image[..., 1] > 0.2))
    assert np.ptp(columns) / np.ptp(rows) == pytest.approx(5 * 40 / 30, rel=0.05)
    middle = image[rows.min() + np.ptp(rows) // 2, columns.min():columns.max() + 1, 1] * 255
    shown = middle[[int((part + 0.5) * len(middle) / 5) for part in range(5)]]
    np.testing.assert_allclose(shown, green_frames()[1, [2, 6, 10, 14, 18], 0, 0], atol=2)


def test_frames_that_are_no_bytes_are_stretched(tmp_path):
    image = draw(tmp_path, green_frames() / 25.0 - 3.0)
    assert ((image[..., 0] < 0.01) & (image[..., 1] > 0.95)).any()


def test_segments_have_their_classes_place_and_colour(tmp_path):
    found = sample([[5.0, 7.0], [6.0, 9.0]], [0, 1])  # of the window from 5 to 9 s
    image, plain = draw(tmp_path, green_frames(), found), draw(tmp_path, green_frames())
    assert len(image) > len(plain)  # overlapping segments have lanes
    bar = np.abs(image - shade(PALETTE[0], 0.6)).max(axis=2) < 0.02
    columns = np.nonzero(bar.any(axis=0))[0]
    assert columns.min() == pytest.approx(0.025 * image.shape[1], abs=4)
    assert columns.max() == pytest.approx(0.5 * image.shape[1], abs=4)


def test_padding_is_marked(tmp_path):
    whole, padded = (draw(tmp_path, green_frames(), sample(num_valid_frames=number))
                     for number in (20, 10))
    lower = slice(int(0.75 * len(whole)), None)
    half = whole.shape[1] // 2
    assert (padded[lower, half:] < 0.7).sum() > (whole[lower, half:] < 0.7).sum() + 1000


def test_features_are_a_map_and_nothing_annotated_is_fine(tmp_path):
    unknown = TADDataSample(metainfo=dict(video_id='a', window=sample().window))
    image = draw(tmp_path, np.random.default_rng(0).normal(size=(16, 20)), unknown)
    assert (np.ptp(image, axis=2) > 0.2).mean() > 0.3


def test_other_inputs_are_refused(tmp_path):
    message = r'frames \(3, T, H, W\) or features \(C, T\), got'
    with pytest.raises(VisualizationError, match=message):
        draw(tmp_path, np.zeros((1, 3, 4, 5, 6)))


def test_names_that_would_cover_each_other_get_lanes(tmp_path):
    apart = draw(tmp_path, green_frames(), sample([[5.0, 5.2], [8.0, 8.2]], [0, 1]))
    close = draw(tmp_path, green_frames(), sample([[5.0, 5.01], [5.02, 5.1]], [0, 1]))
    assert len(close) > len(apart)
