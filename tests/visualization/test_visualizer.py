"""The visualizer hands timelines to the backends of mmengine."""
import numpy as np
import pytest
import torch
from matplotlib.image import imread
from mmengine.structures import InstanceData
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from sbp_tad.registry import VISUALIZERS
from sbp_tad.structures import TADDataSample, Window
from sbp_tad.visualization.errors import VisualizationError
from sbp_tad.visualization.palette import PALETTE, shade


def sample(window=None):
    made = TADDataSample(metainfo=dict(video_id='a', window=window, error=None))
    made.gt_instances = InstanceData(segments_seconds=torch.tensor([[1.0, 3.0]]),
                                     labels=torch.tensor([1]))
    made.pred_instances = InstanceData(
        segments_seconds=torch.tensor([[1.0, 4.0], [6.0, 9.0]]), labels=torch.tensor([0, 1]),
        scores=torch.tensor([1.0, 0.1]))
    return made


def build(tmp_path, *backends):
    visualizer = VISUALIZERS.build(dict(
        type='TimelineVisualizer', name=str(tmp_path), save_dir=str(tmp_path),
        vis_backends=[dict(type=f'{name}VisBackend') for name in backends]))
    visualizer.dataset_meta = dict(classes=('run', 'jump'))
    return visualizer


def pixels_of(image, colour):
    rgb = np.array(shade(colour, 1.0))
    return int((np.abs(image[..., :3] - rgb).max(axis=2) < 0.01).sum())


def test_files_and_tensorboard_get_the_same_picture(tmp_path):
    visualizer = build(tmp_path, 'Local', 'Tensorboard')
    visualizer.add_datasample('detections/a', None, sample(), step=7, duration_seconds=10.0)
    visualizer.close()
    path, = tmp_path.rglob('*.png')
    assert path.name == 'detections_a_7.png'
    image = imread(path)
    assert pixels_of(image, PALETTE[0]) > 2000 and pixels_of(image, PALETTE[1]) > 2000
    folder, = {event.parent for event in tmp_path.rglob('events.out.tfevents*')}
    events = EventAccumulator(str(folder), size_guidance=dict(images=0)).Reload()
    found, = events.Images('detections_a')
    assert (found.step, found.height, found.width) == (7, *image.shape[:2])


def test_what_is_not_wanted_is_not_drawn(tmp_path):
    visualizer = build(tmp_path)
    out = tmp_path / 'out.png'
    visualizer.add_datasample('a', None, sample(), draw_pred=False, duration_seconds=10.0,
                              out_file=out)
    assert pixels_of(imread(out), PALETTE[0]) == 0 < pixels_of(imread(out), PALETTE[1])
    visualizer.add_datasample('a', None, sample(), draw_gt=False, duration_seconds=10.0,
                              out_file=out)
    assert pixels_of(imread(out), PALETTE[1]) == 0 < pixels_of(imread(out), PALETTE[0])


def test_a_window_is_its_own_time_axis(tmp_path):
    visualizer, out = build(tmp_path), tmp_path / 'out.png'
    frames = [np.full((30, 40, 3), (0, 255, 0), np.uint8)] * 4
    visualizer.add_datasample('a', frames, sample(Window('a', 0, 100, 1, 10.0, 100)), out_file=out)
    visualizer.add_datasample('a', frames, sample(), duration_seconds=10.0,
                              out_file=tmp_path / 'same.png')
    np.testing.assert_array_equal(imread(out), imread(tmp_path / 'same.png'))


def test_what_is_missing_is_said(tmp_path):
    visualizer = build(tmp_path)
    with pytest.raises(VisualizationError, match='a: the sample has no window; give'):
        visualizer.add_datasample('a', None, sample())
    visualizer.dataset_meta = None
    with pytest.raises(VisualizationError, match=r'needs dataset_meta = dict\(classes=...\)'):
        visualizer.add_datasample('a', None, sample(), duration_seconds=10.0)
