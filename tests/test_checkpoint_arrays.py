"""Arrays of a checkpoint come back as they were, and none may reach beyond its bytes."""
from __future__ import annotations

import io
import pickle
import struct
import zipfile
from pickle import UnpicklingError

import numpy as np
import pytest
import torch

import sbp_tad.registry  # noqa: F401, prepares the loading of checkpoints
from sbp_tad.apis.checkpoints import read_checkpoint
from sbp_tad.checkpoint_arrays import PickledArray, PickledDtype, rebuild_array, rebuild_scalar
from sbp_tad.checkpoint_safety import CheckpointError

ARRAYS = [np.arange(6.).reshape(2, 3), np.array(3, '>i4'),
          np.asfortranarray(np.arange(6, dtype=np.float16).reshape(2, 3)), np.array(['ab', 'c']),
          np.array([b'xyz']), np.array([True, False])]


@pytest.mark.parametrize('array', ARRAYS, ids=lambda array: f'{array.dtype.str}{array.shape}')
def test_arrays_and_scalars_come_back(array, tmp_path):
    path = tmp_path / 'weights.pth'
    torch.save(dict(array=array, scalar=np.float32(1.5)), path)
    for _ in range(2):  # what was read can be written and read again
        found = read_checkpoint(path)
        np.testing.assert_array_equal(found['array'], array)
        assert found['array'].dtype == array.dtype.newbyteorder('=')
        assert found['scalar'] == np.float32(1.5)
        torch.save(found, path)
    assert type(pickle.loads(pickle.dumps(found['array']))) is np.ndarray


def pickled(text: str) -> bytes:
    return b'X' + struct.pack('<I', len(text)) + text.encode()


def named(module: str, name: str) -> bytes:
    return b'c' + f'{module}\n{name}\n'.encode()


def raw(data: str) -> bytes:
    return named('_codecs', 'encode') + pickled(data) + pickled('latin1') + b'\x86R'


def resized_state(size: int) -> bytes:
    return b'(K\x03' + pickled('|') + b'NNNJ' + struct.pack('<i', size) + b'K\x01K\x00tb'


def write_with_resized_dtype(path, size: int) -> None:
    """A checkpoint whose array of 8 bytes gets a data type of ``size`` bytes after it is made."""
    content = b'\x80\x02}' + pickled('array')
    content += named('numpy._core.multiarray', '_reconstruct') + named('numpy', 'ndarray')
    content += b'K\x00\x85' + raw('b') + b'\x87R(K\x01K\x01\x85' + named('numpy', 'dtype')
    content += pickled('S8') + b'\x89\x88\x87Rq\x01' + resized_state(8) + b'\x89'
    content += raw('AAAAAAAA') + b'tbs' + pickled('again') + b'h\x01' + resized_state(size) + b's.'
    buffer = io.BytesIO()
    torch.save(dict(x=1), buffer)
    whole = zipfile.ZipFile(buffer)
    with zipfile.ZipFile(path, 'w') as damaged:
        for name in whole.namelist():
            damaged.writestr(name, content if name.endswith('data.pkl') else whole.read(name))


def test_a_data_type_is_not_resized_after_its_array_was_made(tmp_path):
    path = tmp_path / 'weights.pth'
    write_with_resized_dtype(path, 8)
    assert read_checkpoint(path)['array'].tolist() == [b'AAAAAAAA']
    write_with_resized_dtype(path, 1 << 28)
    with pytest.raises(CheckpointError, match='not a checkpoint, or one that holds'):
        read_checkpoint(path)


@pytest.mark.parametrize('code', ['O', 'V8', 'f8,i4', 'M8[s]', None])
def test_only_numbers_and_text_are_read(code):
    with pytest.raises(UnpicklingError, match='only numbers and text are read'):
        PickledDtype(code)


@pytest.mark.parametrize('shape, data', [((2, ), b'12345678'), ((-1, -8), b'12345678'),
                                         ((1 << 62, 4), b'')])
def test_a_shape_must_fit_the_bytes(shape, data):
    array = rebuild_array(PickledArray, (0, ), b'b')
    with pytest.raises(UnpicklingError, match=f'{len(data)} bytes'):
        array.__setstate__((1, shape, PickledDtype('f8'), False, data))


def test_other_parts_are_refused():
    array = rebuild_array(PickledArray, (0, ), b'b')
    with pytest.raises(UnpicklingError, match='not made of numbers or text'):
        array.__setstate__((1, (1, ), np.dtype('f8'), False, b'12345678'))
    with pytest.raises(UnpicklingError, match='unknown type'):
        rebuild_array(np.ndarray, (0, ), b'b')
    with pytest.raises(UnpicklingError, match='bytes of its type'):
        rebuild_scalar(PickledDtype('f8'), b'1')
