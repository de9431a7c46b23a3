"""A stream scored step by step: as testing scores it, in bounded memory, with typed errors."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.online import held_bytes
from sbp_tad.apis import launch
from sbp_tad.apis.checkpoints import CheckpointError
from sbp_tad.apis.errors import InferenceError
from sbp_tad.apis.inference.online_inferencer import OnlineInferencer
from sbp_tad.apis.inference.stream_sources import open_stream
from sbp_tad.datasets.toy_videos import ToySettings, build_toy_dataset
from sbp_tad.registry import DATASETS, MODELS

ROOT = Path(__file__).parents[3]
CONFIG = str(ROOT / 'configs/toy/online_gru_cnn4_sbp-r4_toy.py')
SMALL_LSTR = dict(type='LSTRHead', channels=32, num_heads=2, feedforward_channels=32,
                  num_queries=(4, 6))
HEADS = {'gru': {}, 'lstr': SMALL_LSTR}


@pytest.fixture(scope='module')
def toy(tmp_path_factory):
    """A real toy video."""
    folder = tmp_path_factory.mktemp('toy')
    build_toy_dataset(folder, ToySettings(train_videos=1, test_videos=1), workers=1)
    return folder


def small_config(case, data_root='nowhere', num_frames=16, memory_frames=8):
    cfg = launch.load_config(CONFIG)
    cfg.model.head.update(num_frames=num_frames, memory_frames=memory_frames, **HEADS[case])
    cfg.test_dataloader.dataset.update(data_root=str(data_root), num_frames=num_frames,
                                       memory_frames=memory_frames)
    return cfg


def write_checkpoint(cfg, path, **meta):
    """Weights as they are drawn, with scores that differ."""
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    torch.nn.init.normal_(model.head.classifier.weight)
    torch.save(dict(state_dict=model.state_dict(), meta=dict(dataset_meta=meta)), path)
    return path


@pytest.fixture
def make_inferencer(tmp_path):
    def make(case, **options):
        cfg = small_config(case, **options)
        return OnlineInferencer(cfg, write_checkpoint(cfg, tmp_path / 'weights.pth'), 'cpu')
    return make


def score_offline(cfg, model):
    """(n, 1 + classes) of the first test video, in windows, as testing scores it."""
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    scores = []
    for item in (dataset[index] for index in range(len(dataset))):
        batch = dict(inputs=[item['inputs']], data_samples=[item['data_samples']])
        sample, = model.test_step(batch)
        scores.append(sample.pred_scores[:sample.window.num_valid_frames])
    return torch.cat(scores).numpy()


@pytest.mark.parametrize('case', HEADS)
def test_a_stream_scores_as_testing_does(case, toy, make_inferencer):
    inferencer = make_inferencer(case, data_root=toy)
    video, = [path for path in (toy / 'videos').iterdir() if 'test' in path.name]
    expected = score_offline(small_config(case, toy), inferencer.model)
    steps = list(inferencer(video))
    assert len(steps) == len(expected) > 2 * 16
    assert [step.frame_index for step in steps] == list(range(len(steps)))
    np.testing.assert_allclose([step.time_seconds for step in steps],
                               np.arange(len(steps)) / 6, rtol=1e-12)
    scores = np.stack([step.scores for step in steps])
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    assert np.ptp(expected, axis=0).max() > 0.1 and scores.dtype == np.float32
    assert all(step.latency_seconds > 0 for step in steps)
    names = {inferencer.label(step) for step in steps}
    best = {0: None} | dict(enumerate(inferencer.class_names, 1))
    assert names == {best[index] for index in expected.argmax(axis=1)}


def test_frames_in_memory_are_scored_as_their_file(small_video, make_inferencer):
    inferencer = make_inferencer('gru')
    from_file = [step.scores for step in inferencer(small_video)]
    stream = open_stream(small_video)
    frames = (stream.pixels(frame) for _, frame in stream.frames)
    from_frames = [step.scores for step in inferencer(frames, fps=10)]
    assert len(from_file) == 24  # 4 s at 6 fps
    np.testing.assert_array_equal(from_file, from_frames)


@pytest.mark.parametrize(('case', 'num_steps'), [
    ('gru', 700), ('lstr', 700), pytest.param('gru', 10_000, marks=pytest.mark.nightly),
    pytest.param('lstr', 2_000, marks=pytest.mark.nightly)])
def test_the_state_does_not_grow_with_the_stream(case, num_steps, make_inferencer):
    inferencer = make_inferencer(case)
    frames = np.random.default_rng(0).integers(0, 256, (7, 48, 48, 3), np.uint8)
    state, sizes = inferencer.model.init_state(), {}
    for index in range(num_steps):
        scores, state = inferencer.step(state, frames[index % 7])
        if index % 16 == 7:  # at the same place of a window
            sizes[index] = held_bytes(state)
    full = [size for index, size in sizes.items() if index > 16 * 4]  # the memory is full
    # num_seen is pickled in one byte, in two or in four
    assert len(full) > num_steps // 20 and max(full) - min(full) <= 64
    assert np.isfinite(scores).all()


def test_a_stream_is_not_read_ahead(make_inferencer):
    taken = []

    def frames():
        for number in range(100):
            taken.append(number)
            yield np.zeros((48, 48, 3), np.uint8)
    steps = make_inferencer('gru')(frames(), fps=12)
    assert next(steps).frame_index == 0 and len(taken) == 2


def test_users_errors_are_sentences(tmp_path, make_inferencer):
    inferencer = make_inferencer('gru')
    with pytest.raises(InferenceError, match='give fps'):
        inferencer(iter(()))
    with pytest.raises(InferenceError, match='a frame must be an array'):
        next(inferencer([np.zeros((3, 3))], fps=6))
    cfg = small_config('gru')
    weights = write_checkpoint(cfg, tmp_path / 'weights.pth')
    with pytest.raises(launch.ConfigError, match='checkpoint .* does not exist'):
        OnlineInferencer(cfg, tmp_path / 'absent.pth')
    with pytest.raises(CheckpointError, match='another shape'):
        OnlineInferencer(changed(channels=32), weights)
    with pytest.raises(InferenceError, match='needs an OnlineActionDetector on windows'):
        OnlineInferencer(str(ROOT / 'configs/toy/actionformer_r3d10_sbp-r4_toy.py'), weights)
    with pytest.raises(InferenceError, match=r"\(32, 8, 2, 'working'\), those of the test set "
                                             r"\(16, 8, 2, 'working'\)"):
        OnlineInferencer(changed(num_frames=32), weights)
    with pytest.raises(InferenceError, match='windows of the head slide.*Set whole_videos=True'):
        sliding = small_config('lstr')
        sliding.model.head.windows = 'sliding'
        OnlineInferencer(sliding, None)
    with pytest.raises(InferenceError, match='must decode frames and end with PackOnlineInputs'):
        cfg.test_dataloader.dataset.pipeline = cfg.test_dataloader.dataset.pipeline[:-1]
        OnlineInferencer(cfg, weights)


def changed(**head):
    cfg = small_config('gru')
    cfg.model.head.update(head)
    return cfg
