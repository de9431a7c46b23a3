"""Stacking and normalizing windows, without the unreadable ones."""
import torch

from sbp_tad.models.data_preprocessor import TADDataPreprocessor
from sbp_tad.structures import TADDataSample


def run(inputs, **options):
    samples = [TADDataSample(metainfo=dict(error=None)) for _ in inputs]
    return TADDataPreprocessor(**options)(dict(inputs=inputs, data_samples=samples))


def test_normalizes_each_channel():
    frames = torch.full((3, 4, 8, 8), 100, dtype=torch.uint8)
    found = run([frames, frames], mean=[100, 90, 80], std=[1, 2, 4])
    assert found['inputs'].shape == (2, 3, 4, 8, 8)
    assert found['inputs'][1, :, 0, 0, 0].tolist() == [0, 5, 5]


def test_without_statistics_pixels_become_floats():
    found = run([torch.full((3, 1, 2, 2), 7, dtype=torch.uint8)])
    assert found['inputs'].dtype == torch.float32 and (found['inputs'] == 7).all()


def test_unreadable_windows_are_left_out():
    frames = torch.ones(3, 4, 8, 8, dtype=torch.uint8)
    found = run([None, frames, None])
    assert found['inputs'].shape[0] == 1 and len(found['data_samples']) == 3
    assert run([None])['inputs'] is None


def test_features_are_padded_to_the_longest_and_not_normalized():
    found = run([torch.ones(5, 4), None, torch.full((5, 6), 2.0, dtype=torch.float16)],
                mean=[100, 90, 80], std=[1, 2, 4])
    assert found['inputs'].shape == (2, 5, 6) and found['inputs'].dtype == torch.float32
    assert found['inputs'][:, 0].tolist() == [[1, 1, 1, 1, 0, 0], [2] * 6]
