"""Every format of features: what was written comes back, and every misfit is named."""
from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from sbp_tad.datasets.errors import VideoReadError
from sbp_tad.datasets.file_names import FEATURE_SUFFIXES
from sbp_tad.datasets.readers.feature_files import (
    READERS,
    feature_shape,
    open_features,
    read_sidecar,
    replacing,
    sidecar_path,
    write_features,
    write_sidecar,
)
from sbp_tad.errors import UserError
from sbp_tad.versions import VersionError

FEATURES = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
TIMING = dict(fps=10.0, stride_frames=4.0, window_frames=16.0)


@pytest.mark.parametrize('suffix', ['.npy', '.npz', '.pt', '.h5'])
def test_what_is_written_comes_back(tmp_path, suffix):
    path = tmp_path / f'a.b{suffix}'
    write_features(path, FEATURES)
    array = open_features(path)
    np.testing.assert_array_equal(np.asarray(array[2:5]), FEATURES[2:5])
    assert feature_shape(path) == (7, 3)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    write_features(path, FEATURES[:4])
    assert feature_shape(path) == (4, 3), 'a changed file is looked at again'


def test_files_of_several_arrays(tmp_path):
    np.savez(tmp_path / 'a.npz', rgb=FEATURES, flow=FEATURES + 1)
    torch.save({'rgb': torch.from_numpy(FEATURES).bfloat16(), 'fps': 3}, tmp_path / 'a.pt')
    assert open_features(tmp_path / 'a.npz', 'flow')[0, 0] == FEATURES[0, 0] + 1
    assert open_features(tmp_path / 'a.pt', 'rgb').shape == (7, 3)
    with pytest.raises(VideoReadError, match=r"there are 2 arrays, .* holds \['rgb', 'flow'\]"):
        open_features(tmp_path / 'a.npz')
    with pytest.raises(VideoReadError, match=r"no array 'rbg', .*Set source=dict\(key="):
        open_features(tmp_path / 'a.npz', 'rbg')
    with pytest.raises(VideoReadError, match='expected a tensor, or a dict of tensors .*got int'):
        open_features(tmp_path / 'a.pt', 'fps')


def test_one_hdf5_of_all_videos(tmp_path):
    h5py = pytest.importorskip('h5py')
    with h5py.File(tmp_path / 'all.h5', 'w') as file:
        file['v1/c3d'] = FEATURES
        file['v2/c3d'] = FEATURES + 1
    for key in ('v2', 'v2/c3d'):
        assert open_features(tmp_path / 'all.h5', key)[0, 0] == FEATURES[0, 0] + 1
    with pytest.raises(VideoReadError, match="there is no array 'v3/c3d'"):
        open_features(tmp_path / 'all.h5', 'v3/c3d')


def test_hdf5_without_h5py(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'h5py', None)
    (tmp_path / 'a.h5').write_bytes(b'anything')
    for call in (lambda: open_features(tmp_path / 'a.h5'),
                 lambda: write_features(tmp_path / 'b.h5', FEATURES)):
        with pytest.raises(VersionError, match='HDF5 features need h5py'):
            call()


@pytest.mark.parametrize('suffix', ['.npy', '.npz', '.pt', '.h5'])
@pytest.mark.parametrize('content', [b'', b'no features at all', None])
def test_damaged_files_are_named(tmp_path, suffix, content):
    path = tmp_path / f'a{suffix}'
    if content is None:
        write_features(path, FEATURES)
        content = path.read_bytes()[:-20]
    path.write_bytes(content)
    with pytest.raises(VideoReadError, match=rf'a\{suffix}: not readable as \{suffix}'):
        np.asarray(open_features(path))


def test_pickles_stay_closed(tmp_path):
    np.save(tmp_path / 'a.npy', np.array([{}], dtype=object), allow_pickle=True)
    torch.save({'a': FEATURES}, tmp_path / 'a.pt')
    for name in ('a.npy', 'a.pt'):
        with pytest.raises(VideoReadError, match=f'{name}: '):
            open_features(tmp_path / name)


@pytest.mark.parametrize('array, shape', [
    (np.zeros(4), r'\(4,\)'), (np.zeros((1, 4, 3)), r'\(1, 4, 3\)'),
    (np.array([['a', 'b']]), r'\(1, 2\)')])
def test_other_arrays_are_refused(tmp_path, array, shape):
    np.save(tmp_path / 'a.npy', array)
    with pytest.raises(VideoReadError, match=rf'numbers of shape \(T, C\) or .*got .*{shape}'):
        open_features(tmp_path / 'a.npy')


def test_missing_and_unknown_files(tmp_path):
    with pytest.raises(VideoReadError, match='a.npy: no such feature file') as caught:
        feature_shape(tmp_path / 'a.npy')
    assert isinstance(caught.value, UserError)
    with pytest.raises(VideoReadError, match='a.mat: features are read from .npy, .npz, .pt'):
        open_features(tmp_path / 'a.mat')


def test_sidecar(tmp_path):
    path = tmp_path / 'a.npy'
    assert read_sidecar(path) is None
    write_sidecar(path, TIMING)
    assert sidecar_path(path).name == 'a.json' and read_sidecar(path) == TIMING
    for other in ('{"label": "jump"}', '[1]', 'broken'):
        sidecar_path(path).write_text(other)
        assert read_sidecar(path) is None


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / 'a.json'
    path.write_text('old')
    with pytest.raises(ValueError, match='stop'), replacing(path) as temporary:
        temporary.write_text('ne')
        raise ValueError('stop')
    assert path.read_text() == 'old' and list(tmp_path.iterdir()) == [path]


def test_names_are_looked_for_in_every_format():
    assert FEATURE_SUFFIXES == tuple(READERS)
