"""The toy set at a variable and at a constant rate: the same pictures, the same items."""
from __future__ import annotations

import json
from fractions import Fraction

import av
import numpy as np
import pytest

from sbp_tad.datasets import ToyDataset
from sbp_tad.datasets.toy_videos import ToySettings, build_toy_dataset

FPS = 12


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
    """Two copies of a toy set: in the first half every other frame is repeated, or left out."""
    folder = tmp_path_factory.mktemp('toy')
    build_toy_dataset(folder, ToySettings(train_videos=2, test_videos=2, size=48, min_seconds=18,
                                          max_seconds=24))
    copies = folder / 'constant', folder / 'variable'
    for copy in copies:
        (copy / 'videos').mkdir(parents=True)
        content = json.loads((folder / 'annotations.json').read_text())
        (copy / 'annotations.json').write_text(json.dumps(content))
        for entry in content['database'].values():  # each set has the rate of its files
            entry.pop('fps'), entry.pop('num_frames')
        (copy / 'no_rate.json').write_text(json.dumps(content))
    for path in sorted((folder / 'videos').iterdir()):
        with av.open(str(path)) as container:
            frames = [frame.to_ndarray(format='yuv420p') for frame in container.decode(video=0)]
        half = len(frames) // 2
        dropped = set(range(1, half, 2))
        steady = [frames[index - (index in dropped)] for index in range(len(frames))]
        write(copies[0] / 'videos' / path.name, dict(enumerate(steady)))
        write(copies[1] / 'videos' / path.name,
              {index: frame for index, frame in enumerate(frames) if index not in dropped})
    return copies


def write(path, frames):
    """Write frames losslessly at ``index / FPS`` seconds."""
    with av.open(str(path), 'w') as container:
        stream = container.add_stream('libx264', rate=FPS, options={'qp': '0'})
        stream.width, stream.height, stream.pix_fmt = 48, 48, 'yuv420p'
        stream.codec_context.time_base = Fraction(1, 12000)
        for index, pixels in frames.items():
            frame = av.VideoFrame.from_ndarray(pixels, format='yuv420p')
            frame.pts, frame.time_base = 1000 * index, Fraction(1, 12000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def build(folder, annotation, test_mode, **arguments):
    pipeline = [dict(type='SampleWindow'), dict(type='PyAVSeekDecode'),
                dict(type='FormatShape', input_format='NCTHW'), dict(type='PackTADInputs')]
    return ToyDataset(annotation, data_root=str(folder), num_frames=32,
                      test_mode=test_mode, pipeline=pipeline, **arguments)


@pytest.mark.parametrize('test_mode', [False, True])
@pytest.mark.parametrize('annotation, size', [
    ('annotations.json', dict(stride_frames=2)), ('annotations.json', dict(target_fps=8)),
    ('no_rate.json', dict(target_fps=6)), ('no_rate.json', dict(target_fps=8))])
def test_items_are_equal(test_mode, annotation, size, folders):
    constant, variable = (build(folder, annotation, test_mode, **size) for folder in folders)
    assert len(constant) == len(variable) >= 2
    for index in range(len(constant)):
        items = []
        for dataset in (constant, variable):
            np.random.seed(index)
            items.append(dataset[index])
        first, second = items
        np.testing.assert_array_equal(first['inputs'], second['inputs'])
        windows = [item['data_samples'].window for item in items]
        assert windows[0].start_seconds == pytest.approx(windows[1].start_seconds)
        assert windows[0].num_valid_frames == windows[1].num_valid_frames
        targets = [item['data_samples'].gt_instances for item in items]
        np.testing.assert_allclose(targets[0].segments_seconds, targets[1].segments_seconds)
        assert targets[0].labels.tolist() == targets[1].labels.tolist()
        grids = [window.seconds_to_grid(target.segments_seconds, 1)
                 for window, target in zip(windows, targets)]
        np.testing.assert_allclose(grids[0], grids[1])
