"""Extraction: every video to its end, resumed, never mixed, and good enough to train on."""
from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sbp_tad.apis import launch
from sbp_tad.apis.checkpoints import CheckpointError
from sbp_tad.apis.clip_plan import ClipPlan, make_plan
from sbp_tad.apis.errors import InferenceError
from sbp_tad.apis.feature_extraction import (
    ExtractionOptions,
    build_model,
    extract_features,
    store,
)
from sbp_tad.datasets.readers.feature_files import open_features, read_sidecar
from sbp_tad.datasets.readers.features import FeatureGrid
from sbp_tad.datasets.windows import WindowSize
from sbp_tad.registry import DATASETS, MODELS

ROOT = Path(__file__).parents[2]
SECONDS = 7
CONFIG = 'configs/toy/actionformer_r3d10_sbp-r4_toy.py'


@pytest.fixture
def toy(tmp_path, write_video):
    """Three gray videos of 70 frames at 10 fps, annotated as the toy set is."""
    (tmp_path / 'videos').mkdir()
    database = {}
    for name, subset in (('a', 'training'), ('b', 'test'), ('c', 'test')):
        write_video(tmp_path / 'videos' / f'{name}.mp4', 10 * SECONDS)
        database[name] = dict(subset=subset, duration=SECONDS, fps=10, annotations=[
            dict(segment=[1.0, 4.0], label='turn_clockwise')])
    (tmp_path / 'annotations.json').write_text(json.dumps(dict(database=database)))
    return tmp_path


@pytest.fixture
def config(toy, monkeypatch):
    """The toy config in small: windows of 24 frames at stride 2, clips of 8, 4 steps a clip."""
    monkeypatch.chdir(ROOT)
    cfg = launch.load_config(CONFIG)
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.update(num_workers=0, persistent_workers=False)
        loader.dataset.update(data_root=str(toy), num_frames=24)
    return cfg


@pytest.fixture
def checkpoint(config, toy):
    torch.manual_seed(0)
    torch.save(dict(state_dict=MODELS.build(config.model).state_dict()), toy / 'trained.pth')
    return str(toy / 'trained.pth')


@settings(max_examples=80, deadline=None)
@given(frames=st.integers(1, 300), num_frames=st.integers(8, 40), clip=st.integers(1, 8),
       stride=st.integers(1, 12), spacing=st.sampled_from([1, 2, 2.5]))
def test_clips_reach_the_end_once_and_in_bounded_reads(frames, num_frames, clip, stride, spacing):
    """The clips of all reads are those of the grid, none twice, none left out."""
    plan = ClipPlan(WindowSize(num_frames, spacing), clip, stride, pooled=True)
    grid = plan.grid(10.0)
    starts = []
    for window in plan.reads('v', 10.0, frames):
        assert window.num_frames <= num_frames
        starts += [window.start_frame + i * stride * spacing for i in range(plan.clips_per_read)]
    num_steps = grid.num_steps(frames)
    np.testing.assert_allclose(starts[:num_steps], np.arange(num_steps) * grid.stride_frames)
    assert len(starts) - num_steps < plan.clips_per_read
    assert starts[num_steps - 1] + grid.window_frames >= frames - 1e-6


def test_every_step_is_what_the_detector_sees(config, checkpoint, toy):
    """Windows side by side: the features of the neck's input, to the end of the video."""
    out = toy / 'features'
    report = extract_features(config, checkpoint, ExtractionOptions(out))
    assert sorted(report.written) == ['b', 'c'] and not (report.failed or report.present)
    features = np.load(out / 'b.npy')
    assert features.shape == (18, 64)  # 70 frames / (stride 2 * 24 frames / 12 steps)
    stored = read_sidecar(out / 'b.npy')
    assert (stored['fps'], stored['stride_frames'], stored['window_frames']) == (10, 4, 4)
    config.test_dataloader.dataset.overlap = 0.0
    dataset, model = DATASETS.build(config.test_dataloader.dataset), build_model(
        config, checkpoint)
    first = model.data_preprocessor(dict(inputs=[dataset[0]['inputs']], data_samples=[None]))
    with torch.no_grad():
        seen = model.backbone(first['inputs'])[0].T
    np.testing.assert_allclose(features[:12], seen.numpy(), rtol=1e-4, atol=1e-5)
    assert not model.training


def test_a_template_with_a_folder_gets_its_folder(tmp_path):
    path = ExtractionOptions(tmp_path / 'out').path('b', '{video_id}/clip.mp4')
    store(path, (FeatureGrid(10, 4, 4), torch.zeros(3, 2)), {}, 'b')
    assert np.load(tmp_path / 'out/b/clip.npy').shape == (3, 2)
    assert read_sidecar(path)['video_id'] == 'b'


@pytest.mark.parametrize('file_format', ['npz', 'pt', 'h5'])
def test_sliding_clips_in_every_format(config, checkpoint, toy, file_format):
    """A clip of 8 frames each 3 frames, each step the mean of one, whatever is read at once."""
    config.test_dataloader.dataset.num_frames = 16
    found = []
    for number, num_frames in enumerate((16, 40)):
        config.test_dataloader.dataset.num_frames = num_frames
        options = ExtractionOptions(toy / f'out{number}', file_format, clip_stride=3,
                                    clips_at_once=2, subsets=['training'])
        assert extract_features(config, checkpoint, options).written == ['a']
        found.append(np.asarray(open_features(toy / f'out{number}' / f'a.{file_format}')))
    stored = read_sidecar(toy / 'out0' / f'a.{file_format}')
    assert (stored['stride_frames'], stored['window_frames']) == (6, 16)
    assert found[0].shape == (10, 64)  # 1 + (70 - 16) / 6
    np.testing.assert_allclose(*found, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        model = build_model(config, checkpoint)
        config.test_dataloader.dataset.update(subsets=['training'], num_frames=8)
        data = DATASETS.build(config.test_dataloader.dataset)[0]
        clip = model.data_preprocessor(dict(inputs=[data['inputs']], data_samples=[None]))
        np.testing.assert_allclose(found[0][0], model.backbone(clip['inputs'])[0].mean(1),
                                   rtol=1e-4, atol=1e-5)


def test_a_second_run_writes_what_is_missing(config, checkpoint, toy):
    options = ExtractionOptions(toy / 'out')
    extract_features(config, checkpoint, options)
    before = (toy / 'out' / 'c.npy').stat().st_mtime_ns
    (toy / 'out' / 'b.npy').unlink()  # as if the first run had ended between the two files
    report = extract_features(config, checkpoint, options)
    assert (report.written, report.present) == (['b'], ['c'])
    assert (toy / 'out' / 'c.npy').stat().st_mtime_ns == before
    assert sorted(path.name for path in (toy / 'out').iterdir()) == [
        'b.json', 'b.npy', 'c.json', 'c.npy']


def test_features_of_something_else_are_never_mixed(config, checkpoint, toy):
    out = toy / 'out'
    extract_features(config, checkpoint, ExtractionOptions(out))
    other = toy / 'other.pth'
    state = torch.load(checkpoint)
    state['state_dict']['head.normalizer'] += 1
    torch.save(state, other)
    for change, kind in ((dict(checkpoint=str(other)), 'checkpoint_sha256'),
                         (dict(options=ExtractionOptions(out, clip_stride=2)), 'settings_sha256'),
                         (dict(options=ExtractionOptions(out, 'pt')), 'format')):
        arguments = dict(checkpoint=checkpoint, options=ExtractionOptions(out))
        with pytest.raises(InferenceError, match=rf'features with another {kind} .config '
                           'actionformer_r3d10_sbp-r4_toy'):
            extract_features(config, **{**arguments, **change})
    (out / 'b.json').unlink()
    with pytest.raises(InferenceError, match='b.npy exists without its JSON'):
        extract_features(config, checkpoint, ExtractionOptions(out))


def test_bad_videos_are_reported_and_the_others_finished(config, checkpoint, toy):
    (toy / 'videos' / 'b.mp4').write_bytes(b'no video')
    report = extract_features(config, checkpoint, ExtractionOptions(toy / 'out'))
    assert report.written == ['c'] and 'b.mp4: not a readable video' in report.failed['b']
    assert not list((toy / 'out').glob('b.*'))


def test_a_detector_trains_and_tests_on_what_was_written(config, checkpoint, toy, tmp_path):
    subsets = ['training', 'test']
    extract_features(config, checkpoint, ExtractionOptions(toy / 'features', subsets=subsets))
    cfg = launch.load_config('configs/toy/actionformer_r3d10-features_toy.py')
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.update(batch_size=1, num_workers=0, persistent_workers=False)
        loader.dataset.update(data_root=str(toy))
    cfg.train_dataloader.dataset.windows_per_video = 2
    cfg.work_dir, cfg.experiment_name = str(tmp_path / 'work'), tmp_path.name
    cfg.train_cfg.update(max_epochs=1, val_interval=1)
    runner = launch.build_runner(cfg)
    runner.train()
    assert runner.iter == 2
    losses, _ = runner.message_hub.get_scalar('train/loss').data
    assert np.isfinite(losses).all()
    scores, _ = runner.message_hub.get_scalar('val/tad/average_mAP').data
    assert len(scores) == 1


def test_what_cannot_be_extracted(config, checkpoint, toy):
    options = ExtractionOptions(toy / 'out')
    with pytest.raises(launch.ConfigError, match='checkpoint absent.pth does not exist'):
        extract_features(config, 'absent.pth', options)
    state = torch.load(checkpoint)['state_dict']
    torch.save({name: value for name, value in state.items() if 'conv1' not in name},
               toy / 'part.pth')
    with pytest.raises(CheckpointError, match=r'part.pth lacks \d+ weights of the backbone, the '
                                              r'first is backbone\.\S*conv1'):
        extract_features(config, str(toy / 'part.pth'), options)
    features = launch.load_config('configs/toy/actionformer_r3d10-features_toy.py')
    with pytest.raises(InferenceError, match='from the videos or frames of a Temporal'):
        shutil.copytree(toy / 'videos', toy / 'features')
        features.test_dataloader.dataset.data_root = str(toy)
        extract_features(features, checkpoint, options)
    config.model.backbone = None
    with pytest.raises(InferenceError, match='need a TemporalDetector with a backbone, .*None'):
        extract_features(config, checkpoint, options)


def test_a_backbone_that_gives_no_features(config, checkpoint, toy, monkeypatch):
    monkeypatch.setattr('sbp_tad.models.SBPBackbone.forward', lambda self, clips: clips)
    with pytest.raises(InferenceError, match='must return features .B, C, T.; wrap it in'):
        extract_features(config, checkpoint, ExtractionOptions(toy / 'out'))


@pytest.mark.parametrize('options, message', [
    (dict(file_format='csv'), "format must be one of .*got 'csv'"),
    (dict(clip_stride=0), 'clip_stride must be at least 1'),
    (dict(clips_at_once=0), 'clips_at_once must be at least 1')])
def test_options_that_cannot_work(options, message):
    with pytest.raises(InferenceError, match=message):
        ExtractionOptions(Path('out'), **options)


def test_a_backbone_without_clips_slides_windows():
    plan = make_plan(torch.nn.Identity(), WindowSize(24, 2), clip_stride=4)
    assert (plan.clip_frames, plan.clips_per_read) == (24, 1)
