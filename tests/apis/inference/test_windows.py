"""Seconds of detections and features are those at which a player shows the frames."""
from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData
from timed_videos import NAMES, expected_seconds, seconds_of

from sbp_tad.apis import feature_extraction, launch
from sbp_tad.apis.feature_extraction import ExtractionOptions, extract_features
from sbp_tad.apis.inference.inferencer import TADInferencer
from sbp_tad.apis.inference.inputs import InputVideo
from sbp_tad.apis.inference.windows import WindowReads
from sbp_tad.datasets import probe_video
from sbp_tad.datasets.readers.feature_files import open_features, read_sidecar
from sbp_tad.datasets.readers.features import FeatureGrid
from sbp_tad.evaluation.metrics import TADMetric
from sbp_tad.registry import DATASETS, MODELS

ROOT = Path(__file__).parents[3]
FPS = 16  # sampled frames per second
LABEL = 'approach'


class PerfectDetector:
    """Reads the time of every frame from its barcode and detects one action by it."""

    def __init__(self, segments: dict[str, tuple[float, float]]) -> None:
        self.segments = segments

    def __call__(self, data):
        """Detect the segment of each window of a batch."""
        for frames, sample in zip(data['inputs'], data['data_samples']):
            start, end = self.segments[sample.video_id]
            window = sample.window
            shown = [seconds_of(frame) for frame in frames.numpy().transpose(1, 2, 3, 0)]
            active = [step for step in range(window.num_valid_frames)
                      if start <= shown[step] <= end]
            grid = torch.tensor([[active[0], active[-1] + 1.0]]) if active else torch.zeros(0, 2)
            sample.pred_instances = InstanceData(
                segments_seconds=window.grid_to_seconds(grid.double(), 1),
                scores=torch.ones(len(grid)),
                labels=torch.full((len(grid), ), 2, dtype=torch.long))
        return data['data_samples']


def action(times: np.ndarray) -> tuple[float, float]:
    """A segment that begins and ends with a frame, in the middle of the video."""
    return float(times[len(times) // 4]), float(times[3 * len(times) // 4])


@pytest.fixture(scope='module')
def config(timed_files):
    """The toy detector over all files, whose ids are their names; one window per video."""
    cfg = launch.load_config(ROOT / 'configs/toy/actionformer_r3d10_sbp-r4_toy.py')
    folder = next(iter(timed_files.values()))[0].parent
    database = {name: dict(subset='test', annotations=[dict(segment=action(times), label=LABEL)])
                for name, (_, times) in timed_files.items()}
    (folder / 'annotations.json').write_text(json.dumps(dict(database=database)))
    cfg.test_dataloader.update(num_workers=0, persistent_workers=False, batch_size=1)
    cfg.test_dataloader.dataset.update(
        data_root=str(folder), data_prefix=dict(video='.'), filename_template='{video_id}',
        num_frames=24 * FPS, target_fps=FPS, stride_frames=None)
    return cfg


@pytest.fixture(scope='module')
def inferencer(config, timed_files, tmp_path_factory):
    weights = tmp_path_factory.mktemp('weights') / 'drawn.pth'
    torch.save(dict(state_dict=MODELS.build(config.model).state_dict()), weights)
    inferencer = TADInferencer(config, str(weights), 'cpu', show_progress=False)
    inferencer.model.test_step = PerfectDetector(
        {name: action(times) for name, (_, times) in timed_files.items()})
    return inferencer


@pytest.mark.parametrize('name', NAMES)
def test_detections_of_files_are_in_seconds_of_a_player(name, inferencer, timed_files):
    path, times = timed_files[name]
    start, _ = action(times)
    result, = inferencer(path)
    assert result.video_id == name  # the filename_template of the config is '{video_id}'
    found = max(result.detections, key=lambda detection: detection.score)
    after = times[3 * len(times) // 4 + 1]  # the last frame of the action is shown until then
    assert found.label == LABEL and result.duration_seconds == probe_video(path).duration_seconds
    assert abs(found.start_seconds - start) <= 1 / FPS
    assert abs(found.end_seconds - after) <= 1 / FPS


def test_a_perfect_detector_scores_one(config, timed_files):
    """The round trip: annotation, sampled frames, detections in seconds, evaluation."""
    dataset = DATASETS.build(config.test_dataloader.dataset)
    detect = PerfectDetector({name: action(times) for name, (_, times) in timed_files.items()})
    metric = TADMetric(tiou_thresholds=(0.5, 0.75))
    metric.dataset_meta = dataset.metainfo
    for index in range(len(dataset)):
        item = dataset[index]
        assert item['data_samples'].error is None
        samples = detect(dict(inputs=[item['inputs']], data_samples=[item['data_samples']]))
        metric.process({}, [sample.to_dict() for sample in samples])
    scores = metric.evaluate(len(dataset))
    assert len(dataset) == len(NAMES) and scores['tad/average_mAP'] == 1


class BarcodeReader:
    """Backbone whose only channel is the time that a frame shows: (n, C, T, H, W) to (n, 1, T)."""

    clip_len = 1

    def __call__(self, clips: torch.Tensor) -> torch.Tensor:
        return torch.tensor([[[seconds_of(frame) for frame in clip.numpy().transpose(1, 2, 3, 0)]]
                             for clip in clips])


@pytest.mark.parametrize('clip_stride', [None, 4])
def test_steps_of_features_are_in_seconds_of_a_player(clip_stride, config, timed_files, tmp_path,
                                                      monkeypatch):
    cfg = config.copy()
    cfg.test_dataloader.dataset.num_frames = 48
    weights = tmp_path / 'drawn.pth'
    torch.save({}, weights)
    monkeypatch.setattr(feature_extraction, 'build_model', lambda *_: SimpleNamespace(
        backbone=BarcodeReader(), data_preprocessor=lambda data: data))
    report = extract_features(cfg, str(weights), ExtractionOptions(
        tmp_path / 'features', clip_stride=clip_stride))
    assert not report.failed and set(report.written) == set(NAMES)
    for name, (path, times) in timed_files.items():
        features = np.asarray(open_features(tmp_path / 'features' / f'{name}.npy'))[:, 0]
        stored = read_sidecar(tmp_path / 'features' / f'{name}.npy')
        grid = FeatureGrid(stored['fps'], stored['stride_frames'], stored['window_frames'])
        seconds = (np.arange(len(features)) * grid.stride_frames + grid.window_frames / 2) \
            / grid.fps
        inside = seconds < probe_video(path).duration_seconds
        np.testing.assert_allclose(features[inside], expected_seconds(times, seconds[inside]),
                                   atol=0.006, err_msg=name)


def test_fps_of_a_call_counts_strides_in_video_files_too(small_video):
    """As ``fps`` of an annotation does; without it the source takes that of the file."""
    def file_items(name, annotation):
        return [dict(fps=annotation.fps)]

    files = SimpleNamespace(file_items=file_items, data_prefix=dict(video=''))
    video = InputVideo('a', str(small_video))
    assert [WindowReads(files, [video], fps).items(video)[0]['fps'] for fps in (12, None)] == [
        12, None]
