"""Inference equals testing, needs bounded memory and processes each file once."""
from __future__ import annotations

import json
import os
import weakref
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.infer import BaseInferencer

from sbp_tad.apis import launch
from sbp_tad.apis.checkpoints import CheckpointError
from sbp_tad.apis.dumps import set_dump
from sbp_tad.apis.errors import InferenceError
from sbp_tad.apis.inference.inferencer import TADInferencer
from sbp_tad.apis.inference.inputs import list_videos
from sbp_tad.apis.inference.results import write_submission
from sbp_tad.apis.inference.windows import WindowReads
from sbp_tad.apis.named_files import find_config
from sbp_tad.datasets.readers.feature_files import write_features, write_sidecar
from sbp_tad.evaluation.errors import EvaluationError
from sbp_tad.evaluation.metrics import TADMetric
from sbp_tad.models.errors import ModelError
from sbp_tad.registry import INFERENCERS, MODELS
from sbp_tad.segments.merging import PostProcessing

ROOT = Path(__file__).parents[3]
LENGTHS = dict(b=70, a=100, c=31)  # frames, at 10 a second; not in the order of the names
CLASSES = ('turn_clockwise', 'turn_counterclockwise', 'approach', 'recede', 'sweep_horizontal',
           'sweep_vertical')


def small_config(name: str, data_root: Path):
    """A toy config with windows of 24 frames at stride 2, three at a time."""
    cfg = launch.load_config(find_config(name))
    cfg.test_dataloader.update(num_workers=0, persistent_workers=False, batch_size=3)
    cfg.test_dataloader.dataset.update(data_root=str(data_root), num_frames=24)
    return cfg


def write_checkpoint(cfg, path: Path, **meta) -> str:
    """Weights as they are drawn, with scores that differ."""
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    for value in model.head.parameters():
        torch.nn.init.normal_(value, std=0.3)
    torch.save(dict(state_dict=model.state_dict(), meta=dict(dataset_meta=meta)), path)
    return str(path)


@pytest.fixture(scope='module')
def toy(tmp_path_factory, write_video):
    """Three gray test videos whose annotation leaves their timing to the files."""
    folder = tmp_path_factory.mktemp('toy')
    (folder / 'videos').mkdir()
    for name, num_frames in LENGTHS.items():
        write_video(folder / 'videos' / f'{name}.mp4', num_frames)
    annotation = dict(subset='test', annotations=[dict(segment=[0.5, 2.0], label='approach')])
    (folder / 'annotations.json').write_text(json.dumps(dict(
        database=dict.fromkeys(LENGTHS, annotation))))
    return folder


@pytest.fixture(scope='module')
def config(toy):
    return small_config('actionformer_r3d10_sbp-r4_toy', toy)


@pytest.fixture(scope='module')
def checkpoint(config, toy):
    return write_checkpoint(config, toy / 'trained.pth')


@pytest.fixture(scope='module')
def inferencer(config, checkpoint):
    return TADInferencer(config, checkpoint, 'cpu', show_progress=False)


@pytest.mark.parametrize('name, change', [
    ('actionformer_r3d10_sbp-r4_toy', {}), ('daotad_r3d10_sbp-r4_toy', {}),
    ('segmentation_r3d10_sbp-r4_toy', {'model.test_cfg.method': 'none'}),
    ('segmentation_r3d10_sbp-r4_toy', {'test_evaluator.post_processing.method': 'linear'})])
def test_results_are_those_of_testing_to_the_last_digit(name, change, toy, tmp_path):
    cfg = small_config(name, toy)
    cfg.merge_from_dict(change)
    weights = write_checkpoint(cfg, tmp_path / 'trained.pth')
    inferencer = TADInferencer(cfg, weights, 'cpu', show_progress=False)
    found = inferencer([toy / 'videos' / f'{video}.mp4' for video in LENGTHS])
    assert [result.video_id for result in found] == list(LENGTHS)
    assert all(len(result.detections) > 5 for result in found)
    write_submission(tmp_path / 'found.json', found)
    cfg.work_dir, cfg.experiment_name = str(tmp_path / 'work'), tmp_path.name
    launch.set_checkpoint(cfg, weights)
    set_dump(cfg, str(tmp_path / 'tested.json'))
    launch.build_runner(cfg).test()
    assert (tmp_path / 'found.json').read_bytes() == (tmp_path / 'tested.json').read_bytes()


OLD_DAOTAD = {'model.test_cfg': None, 'test_evaluator.post_processing': dict(
    method='nmw', min_score=0.005, max_detections=1200)}


@pytest.mark.parametrize('name, change, expected', [
    ('actionformer_r3d10_sbp-r4_toy', {}, PostProcessing()),
    ('actionformer_r3d10_sbp-r4_toy', {'model.test_cfg': None}, PostProcessing()),
    ('actionformer_r3d10_sbp-r4_toy', {'model.test_cfg.sigma': 0.7}, PostProcessing(sigma=0.7)),
    ('actionformer_r3d10_sbp-r4_toy', {'test_evaluator': dict(_delete_=True, type='AccMetric')},
     PostProcessing()),
    ('daotad_r3d10_sbp-r4_toy', {},
     PostProcessing(method='nmw', min_score=0.005, max_detections=1200)),
    ('daotad_r3d10_sbp-r4_toy', OLD_DAOTAD,
     PostProcessing(method='nmw', min_score=0.005, max_detections=1200)),
    ('daotad_r3d10_sbp-r4_toy', {'test_evaluator.post_processing.method': 'gaussian'},
     PostProcessing(min_score=0.005, max_detections=1200))])
def test_rules_come_from_the_detector_and_no_metric_is_built(name, change, expected, toy,
                                                             tmp_path, monkeypatch):
    """Options of the evaluator override the detector's, as in testing; old configs still work."""
    cfg = small_config(name, toy)
    weights = write_checkpoint(cfg, tmp_path / 'trained.pth')
    cfg.merge_from_dict(change)
    monkeypatch.setattr(TADMetric, '__init__', None)
    assert TADInferencer(cfg, weights, 'cpu', show_progress=False).rules == expected


def test_wrong_rules_are_refused(config, checkpoint, toy):
    for change, error, message in (
            ({'model.test_cfg.sigm': 1}, ModelError, "test_cfg: unknown .*'sigm'.*are method"),
            ({'test_evaluator.post_processing.sigm': 1}, EvaluationError,
             "post_processing of TADMetric: unknown .*'sigm'.* are method, sigma")):
        cfg = small_config('actionformer_r3d10_sbp-r4_toy', toy)
        cfg.merge_from_dict(change)
        with pytest.raises(error, match=message):
            TADInferencer(cfg, checkpoint, 'cpu')


def test_a_result_is_typed(inferencer, toy):
    result, = inferencer(toy / 'videos' / 'a.mp4')
    assert (result.video_id, result.duration_seconds, result.error) == ('a', 10.0, None)
    assert result.filename == str(toy / 'videos' / 'a.mp4')
    scores = [found.score for found in result.detections]
    assert scores == sorted(scores, reverse=True)
    for found in result.detections:
        assert 0 <= found.start_seconds < found.end_seconds <= 10.4 and found.label in CLASSES
    threshold = scores[3]
    few, = inferencer(toy / 'videos' / 'a.mp4', score_threshold=threshold)
    assert few.detections == tuple(found for found in result.detections
                                   if found.score >= threshold)


def test_a_folder_is_its_videos_whatever_is_batched(inferencer, toy):
    files = {result.video_id: result for result in inferencer(toy / 'videos')}
    assert list(files) == ['a', 'b', 'c']
    for result in inferencer(toy / 'videos', batch_size=2, num_workers=1):
        np.testing.assert_allclose(result.segments_seconds()[:5],
                                   files[result.video_id].segments_seconds()[:5], rtol=1e-4)


def test_frames_in_memory_are_the_file(inferencer, toy):
    path = toy / 'videos' / 'b.mp4'
    capture = cv2.VideoCapture(str(path))
    frames = np.stack([cv2.cvtColor(capture.read()[1], cv2.COLOR_BGR2RGB)
                       for _ in range(LENGTHS['b'])])
    pipeline = inferencer.dataset.pipeline.transforms
    from_memory, from_file = inferencer([frames, path], batch_size=1, fps=10)
    assert from_memory.video_id == 'array_0' and from_memory.filename is None
    assert from_memory.duration_seconds == from_file.duration_seconds == 7.0
    assert from_memory.detections == from_file.detections
    assert inferencer.dataset.pipeline.transforms is pipeline


def test_class_names_of_the_checkpoint_go_first(config, toy, tmp_path):
    mine = tuple('uvwxyz')
    named = write_checkpoint(config, tmp_path / 'named.pth', classes=mine)
    assert TADInferencer(config, named, show_progress=False).class_names == mine
    few = write_checkpoint(config, tmp_path / 'few.pth', classes=mine[:2])
    with pytest.raises(InferenceError, match='has 6 classes, checkpoint and config name 2'):
        TADInferencer(config, few)


def test_frames_held_do_not_grow_with_the_video(inferencer, toy, write_video, monkeypatch):
    """At any time there is one batch; of each video a bounded number of predictions."""
    read, forward = inferencer.dataset.read, inferencer.forward
    held, most = weakref.WeakSet(), []

    def note_read(info):
        packed = read(info)
        held.add(packed['inputs'])
        return packed

    def note_forward(batch):
        most.append(sum(frames.shape[1] for frames in held))
        return forward(batch)

    monkeypatch.setattr(inferencer.dataset, 'read', note_read)
    monkeypatch.setattr(inferencer, 'forward', note_forward)
    peaks = {}
    for num_frames in (200, 800):
        most.clear()
        inferencer(write_video(toy / f'{num_frames}.mp4', num_frames), batch_size=2)
        peaks[num_frames] = max(most)
    assert len(most) == 17  # 33 windows of 48 frames, 24 apart
    assert peaks[200] == peaks[800] <= 2 * 2 * 24  # a batch, and the one that comes


def test_bad_files_are_reported_and_the_others_finished(inferencer, toy, tmp_path):
    (tmp_path / 'broken.mp4').write_bytes(b'no video')
    bad, good = inferencer([tmp_path / 'broken.mp4', toy / 'videos' / 'c.mp4'],
                           vis_dir=tmp_path / 'vis')
    assert 'broken.mp4: not a readable video' in bad.error and bad.detections == ()
    assert bad.duration_seconds is None and good.error is None and good.detections
    assert [path.name for path in (tmp_path / 'vis').iterdir()] == ['c.png']


def test_an_input_that_does_not_exist_is_refused_before_any_work(inferencer, toy, tmp_path):
    for given in (tmp_path / 'absent', [toy / 'videos' / 'c.mp4', str(tmp_path / 'absent')]):
        with pytest.raises(InferenceError, match=f'no such file or folder: {tmp_path}/absent. '):
            inferencer(given, out_dir=tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


def test_a_second_run_does_what_is_missing(inferencer, toy, tmp_path, monkeypatch):
    folder = tmp_path / 'videos'
    folder.mkdir()
    for name in 'ac':
        (folder / f'{name}.mp4').write_bytes((toy / 'videos' / f'{name}.mp4').read_bytes())
    (folder / 'bad.mp4').touch()
    forward, windows = inferencer.forward, []
    monkeypatch.setattr(inferencer, 'forward', lambda batch: windows.extend(
        sample.video_id for sample in batch['data_samples']) or forward(batch))

    def run(**options):
        windows.clear()
        return inferencer(folder, out_dir=tmp_path / 'out', **options)

    first = run()
    assert set(windows) == {'a', 'c', 'bad'}
    assert run(vis_dir=tmp_path / 'vis') == first and set(windows) == {'bad'}
    assert sorted(path.name for path in (tmp_path / 'vis').iterdir()) == ['a.png', 'c.png']
    drawn = (tmp_path / 'vis' / 'a.png').stat().st_mtime_ns
    os.utime(folder / 'c.mp4', ns=(0, 0))
    again = run(vis_dir=tmp_path / 'vis')
    assert again[0] == first[0] and again[2].detections and set(windows) == {'bad', 'c'}
    assert (tmp_path / 'vis' / 'a.png').stat().st_mtime_ns == drawn
    assert len(run(score_threshold=0.6)[0].detections) < len(first[0].detections)
    assert run()[0] == first[0] and set(windows) == {'bad'}  # every detection is kept
    assert sorted(path.name for path in (tmp_path / 'out' / 'videos').iterdir()) == [
        'a.json', 'c.json']


def test_results_of_another_checkpoint_are_not_taken(inferencer, config, checkpoint, toy,
                                                     tmp_path):
    first, = inferencer(toy / 'videos' / 'c.mp4', out_dir=tmp_path / 'out')
    state = torch.load(checkpoint)
    state['state_dict'] = {name: value + 0.01 for name, value in state['state_dict'].items()}
    torch.save(state, tmp_path / 'other.pth')
    other = TADInferencer(config, tmp_path / 'other.pth', show_progress=False)
    second, = other(toy / 'videos' / 'c.mp4', out_dir=tmp_path / 'out')
    assert second.detections != first.detections


def test_a_run_that_was_ended_goes_on(inferencer, toy, tmp_path, monkeypatch):
    forward, batches = inferencer.forward, []

    def interrupted(batch):
        batches.append(batch)
        if len(batches) == 3:
            raise KeyboardInterrupt
        return forward(batch)

    monkeypatch.setattr(inferencer, 'forward', interrupted)
    with pytest.raises(KeyboardInterrupt):
        inferencer(toy / 'videos', out_dir=tmp_path)
    done = {path.name: path.read_text() for path in (tmp_path / 'videos').iterdir()}
    assert sorted(done) == ['a.json', 'b.json']  # windows 1 to 4, 5 and 6, and the last one 7
    monkeypatch.setattr(inferencer, 'forward', forward)
    assert len(inferencer(toy / 'videos', out_dir=tmp_path)) == 3
    assert done == {name: (tmp_path / 'videos' / name).read_text() for name in done}


def test_a_picture_shows_frames_of_the_whole_video(inferencer, toy, read_frame_numbers):
    video, = list_videos(toy / 'videos' / 'c.mp4', 'video')
    images = WindowReads(inferencer.dataset, [video]).thumbnails(video, 3, height=16)
    assert [image.shape for image in images] == [(16, 22, 3)] * 3  # each third pixel of 48 x 64
    assert read_frame_numbers(np.stack(images)).tolist() == [5, 15, 25]


def test_folders_of_frames(toy, checkpoint, tmp_path):
    cfg = small_config('actionformer_r3d10_sbp-r4_toy', toy)
    decoder = next(place for place, step in enumerate(cfg.test_pipeline)
                   if step['type'].endswith('Decode'))
    cfg.test_dataloader.dataset.update(
        data_prefix=dict(frames='frames'),
        pipeline=[dict(type='SampleWindow'), dict(type='RawFrameDecode'),
                  *cfg.test_pipeline[decoder + 1:]])
    inferencer = TADInferencer(cfg, checkpoint, show_progress=False)
    (tmp_path / 'all' / 'x').mkdir(parents=True)
    for number in range(1, 41):
        cv2.imwrite(str(tmp_path / 'all' / 'x' / f'img_{number:05d}.jpg'),
                    np.full((48, 64, 3), 5 * number, np.uint8))
    result, = inferencer(tmp_path / 'all', fps=10, vis_dir=tmp_path)
    assert (result.video_id, result.duration_seconds, result.error) == ('x', 4.0, None)
    assert len(result.detections) > 5 and (tmp_path / 'x.png').is_file()
    result, = inferencer(tmp_path / 'all')
    assert 'the frame rate of these frames is unknown' in result.error
    assert 'give --fps' in result.error


def test_a_detector_on_features_takes_feature_files(toy, tmp_path):
    cfg = small_config('actionformer_r3d10-features_toy', toy)
    inferencer = TADInferencer(cfg, write_checkpoint(cfg, toy / 'on_features.pth'),
                               show_progress=False)
    rng = np.random.default_rng(0)
    write_features(tmp_path / 'x.npy', rng.normal(size=(60, 64)).astype(np.float32))
    write_sidecar(tmp_path / 'x.npy', dict(fps=10, stride_frames=4, window_frames=4))
    result, = inferencer(tmp_path, vis_dir=tmp_path)
    assert (result.video_id, result.duration_seconds) == ('x', 24.0) and result.detections
    assert (tmp_path / 'x.png').is_file()
    with pytest.raises(InferenceError, match='reads feature files, not frames'):
        inferencer(np.zeros((8, 4, 4, 3), np.uint8), fps=10)
    write_features(tmp_path / 'ct.npy', rng.normal(size=(64, 60)).astype(np.float32))
    with pytest.raises(launch.ConfigError, match=r'ct.npy of test_dataloader.dataset has 60 '
                       r'channels, .*shape \(64, 60\) .*Set source=dict\(channels_first=True'):
        inferencer(tmp_path / 'ct.npy', fps=10)
    video, = inferencer(toy / 'videos' / 'a.mp4')
    assert 'features are read from .npy' in video.error


def test_conventions_of_openmmlab(config, checkpoint, inferencer):
    assert isinstance(inferencer, BaseInferencer) and not inferencer.model.training
    built = INFERENCERS.build(dict(type='sbp_tad.TADInferencer', config_or_name=config,
                                   checkpoint=checkpoint, device='cpu'))
    assert type(built) is TADInferencer


@pytest.mark.parametrize('options, message', [
    (dict(batch_size=0), 'batch_size must be at least 1, got 0'),
    (dict(score_threshold=1.5), r'score_threshold must lie in \[0, 1\], got 1.5'),
    (dict(fps=0), 'fps must be above 0, got 0')])
def test_numbers_that_cannot_be(inferencer, toy, options, message):
    with pytest.raises(InferenceError, match=message):
        inferencer(toy / 'videos', **options)
    with pytest.raises(InferenceError, match='an array of frames has no frame rate'):
        inferencer(np.zeros((8, 4, 4, 3), np.uint8))


@pytest.mark.parametrize('device, message', [
    ('mps', "must be 'auto', 'cpu', 'cuda' or 'cuda:N', got 'mps'"),
    ('cuda:0', "device 'cuda': PyTorch finds no CUDA device")])
def test_devices_that_cannot_be(config, checkpoint, device, message, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(InferenceError, match=message):
        TADInferencer(config, checkpoint, device)


def test_detectors_that_cannot_be(config, checkpoint, toy, tmp_path):
    with pytest.raises(launch.ConfigError, match='checkpoint absent.pth does not exist'):
        TADInferencer(config, 'absent.pth')
    with pytest.raises(launch.ConfigError, match="no config is named 'actionformer_toys'"):
        TADInferencer('actionformer_toys', checkpoint)
    with pytest.raises(CheckpointError, match=r'weights of the model'):
        TADInferencer('daotad_r3d10_sbp-r4_toy', checkpoint)
    for change, message in (
            (dict(model=dict(_delete_=True, type='AnchorFreeHead', num_classes=2, in_channels=8,
                             strides=(1, ), regression_ranges=((0, 9), ))),
             'needs a TemporalDetector on windows of videos, the config has AnchorFreeHead'),
            (dict(test_dataloader=dict(dataset=dict(_delete_=True, type='VideoDataset',
                                                    ann_file='x', pipeline=[]))),
             'must be a TemporalDetectionDataset, got VideoDataset')):
        other = small_config('actionformer_r3d10_sbp-r4_toy', toy)
        other.merge_from_dict(change)
        with pytest.raises(InferenceError, match=message):
            TADInferencer(other, checkpoint)


def test_a_real_video(shared_data, config, checkpoint):
    result, = TADInferencer(config, checkpoint, show_progress=False)(
        shared_data / 'videos' / 'decord_flipping_a_pancake.mkv')
    assert result.error is None and result.duration_seconds == pytest.approx(10.33, abs=0.01)
    assert result.detections
