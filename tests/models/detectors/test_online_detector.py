"""Online detector: causal from the pixels on, history without gradient, window with SBP."""
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.logging import MessageHub
from mmengine.optim import OptimWrapper
from online_cases import history_of
from processes import run_processes
from reference.masked_backprop import masked_gradients
from torch.nn.parallel import DistributedDataParallel

from sbp_tad.models.detectors.online_detector import evaluation_mode
from sbp_tad.models.errors import ModelError
from sbp_tad.models.losses import frame_cross_entropy
from sbp_tad.registry import MODELS
from sbp_tad.sbp import SavedMemory, draw_kept_clips
from sbp_tad.structures import OnlineDataSample, Window

CLASSES, MEMORY, FRAMES, STRIDE = 3, 3, 5, 2
LSTR = dict(type='LSTRHead', channels=8, num_heads=2, feedforward_channels=8, dropout=0.0)
HEADS = {'lstr': LSTR, 'gru': dict(type='GRUHead', channels=8)}
TSN = dict(type='ResNet', depth=18, num_stages=1, out_indices=(0, ), strides=(1, ),
           dilations=(1, ), pretrained=None)
# stochastic depth of a half, no normalization of batches
DROPPING = dict(type='ConvNeXt', depths=(1, 1, 1, 1), channels=(8, 8, 8, 64), drop_path_rate=0.5,
                layer_scale=1.0)
every_head = pytest.mark.parametrize('head', sorted(HEADS))


def build(head='lstr', backbone=TSN, keep_ratio=0.4, in_channels=64, **options):
    torch.manual_seed(0)
    model = MODELS.build(dict(
        type='OnlineActionDetector',
        backbone=backbone and dict(type='SBPBackbone', backbone=backbone, clip_len=1, seed=0,
                                   keep_ratio=keep_ratio),
        head=dict(HEADS[head], num_classes=CLASSES, in_channels=in_channels, num_frames=FRAMES,
                  memory_frames=MEMORY, memory_stride=STRIDE), **options))
    model.init_weights()
    return model.train()


def make_sample(mask=(True, ) * MEMORY, valid=(True, ) * FRAMES, error=None):
    sample = OnlineDataSample(metainfo=dict(
        window=Window('video', 0, FRAMES, 1, 4.0, FRAMES), video_id='video', error=error))
    if error is None:
        sample.memory_mask = torch.tensor(mask, dtype=torch.bool)
        sample.frame_targets = torch.eye(1 + CLASSES)[torch.arange(FRAMES) % (1 + CLASSES)]
        sample.frame_valid = torch.tensor(valid)
    return sample


def draw_frames(num_frames=MEMORY + FRAMES, batch=2, size=16):
    generator = torch.Generator().manual_seed(num_frames)
    return torch.randn(batch, 3, num_frames, size, size, generator=generator)


def score_video(model, video):
    """(n, 1 + classes) of frames (1, 3, n, H, W), window after window, from the pixels on."""
    scores = []
    for start in range(0, video.shape[2], FRAMES):
        history, mask = history_of(video, start, MEMORY, STRIDE)
        inputs = torch.cat((history, video[:, :, start:start + FRAMES]), dim=2)
        found, = model(inputs, [make_sample(mask[0].tolist())], mode='predict')
        scores.append(found.pred_scores)
    return torch.cat(scores)


@every_head
@settings(deadline=None, max_examples=8)
@given(changed=st.integers(0, 11))
def test_changing_a_frame_changes_no_earlier_score(head, changed):
    model, video = build(head).eval(), draw_frames(12, batch=1)
    before = score_video(model, video)
    video[:, :, changed] += 1
    after = score_video(model, video)
    assert torch.equal(before[:changed], after[:changed])
    assert not torch.equal(before[changed], after[changed])


@every_head
def test_a_stream_of_frames_gives_the_offline_scores(head):
    model, video = build(head).eval(), draw_frames(12, batch=1)
    state, scores = model.init_state(), []
    for frame in video[0].transpose(0, 1):
        one, state = model.step(state, frame)
        scores.append(one)
    torch.testing.assert_close(torch.stack(scores), score_video(model, video), rtol=1e-4,
                               atol=1e-6)


@every_head
@pytest.mark.parametrize('keep_ratio, num_kept', [(0.2, 1), (0.4, 2), (1, 5)])
def test_gradients_equal_the_slow_reference(head, keep_ratio, num_kept):
    """All working frames encoded with gradient, that of the dropped ones masked by hand."""
    model, inputs = build(head, keep_ratio=keep_ratio).double(), draw_frames().double()
    samples = [make_sample(), make_sample((False, True, True), (True, ) * 4 + (False, ))]
    keys = [(0, MessageHub.get_current_instance().get_info('iter', 0), 0, i) for i in range(2)]
    kept = draw_kept_clips(FRAMES, keep_ratio, 'uniform_jitter', keys).flatten()
    assert kept.sum() == 2 * num_kept

    class Encoder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.network = model.backbone.backbone

        def forward(self, frames):
            return self.network(frames).mean(dim=(2, 3))

    def fold(rows, steps):
        return rows.unflatten(0, (2, steps)).transpose(1, 2)

    encoder, masks = Encoder(), torch.stack([sample.memory_mask for sample in samples])
    history, working = (part.transpose(1, 2).flatten(0, 1)
                        for part in (inputs[:, :, :MEMORY], inputs[:, :, MEMORY:]))
    with torch.no_grad():
        history = fold(encoder(history), MEMORY)

    def loss_of(features):
        targets, valid = (torch.stack([getattr(sample, name) for sample in samples])
                          for name in ('frame_targets', 'frame_valid'))
        return frame_cross_entropy(model.head(history, masks, fold(features, FRAMES)), targets,
                                   valid)

    _, expected = masked_gradients(encoder, loss_of, working, kept, FRAMES / num_kept)
    model(inputs, samples, mode='loss')['loss_cls'].backward()
    for name, gradient in expected.items():
        found = dict(encoder.named_parameters())[name].grad
        torch.testing.assert_close(found, gradient, rtol=1e-6, atol=1e-10)
    assert any(gradient.abs().sum() > 0 for gradient in expected.values())


def test_memory_is_without_gradient_unless_asked_for():
    inputs, samples = draw_frames(), [make_sample(), make_sample()]
    features = {}
    for backprop in (False, True):
        model = build(memory_backprop=backprop, keep_ratio=1)
        history, _, working = model.extract(inputs, samples)
        assert history.requires_grad == backprop and working.requires_grad
        features[backprop] = history.detach()
    torch.testing.assert_close(features[False], features[True], rtol=1e-4, atol=1e-5)


def test_memory_frames_hold_no_activations():
    """Saved activations grow with the history only with ``memory_backprop``."""
    inputs, held = draw_frames(), {}
    for backprop in (False, True):
        model = build(memory_backprop=backprop, keep_ratio=1)
        for first in (0, MEMORY):
            samples = [make_sample((True, ) * (MEMORY - first))] * 2
            with SavedMemory(model.backbone) as saved:
                model.extract(inputs[:, :, first:], samples)
            held[backprop, first] = saved.bytes
    assert held[False, 0] == held[False, MEMORY]
    assert held[True, 0] > 1.5 * held[True, MEMORY]


def test_memory_frames_are_encoded_a_few_at_a_time(monkeypatch):
    model, sizes = build(), []
    model.backbone.strategy.clips_without_grad = 2
    model.backbone.backbone.register_forward_hook(
        lambda module, args, output: sizes.append(len(args[0])))
    working = torch.zeros(2, 64, FRAMES)
    mask = torch.tensor([[True, True, True], [False, True, True]])
    model._encode_history(draw_frames(MEMORY), mask, working)
    assert sizes == [2, 2, 1]  # of the five that exist


def test_missing_memory_is_not_looked_at():
    model, inputs = build().eval(), draw_frames()
    samples = [make_sample((False, True, True)), make_sample((False, ) * MEMORY)]
    expected = model(inputs, samples)
    inputs[0, :, 0] = inputs[1, :, :MEMORY] = float('nan')
    assert torch.equal(model(inputs, samples), expected) and expected.isfinite().all()


def test_stochastic_depth_rests_for_the_memory():
    """Same features as in evaluation, no random number drawn, every layer back in its mode."""
    model, inputs = build(backbone=DROPPING), draw_frames(size=32)
    mask, working = torch.ones(2, MEMORY, dtype=torch.bool), torch.zeros(2, 64, FRAMES)
    modes = [layer.training for layer in model.modules()]
    before = torch.get_rng_state()
    history = model._encode_history(inputs[:, :, :MEMORY], mask, working)
    assert torch.equal(before, torch.get_rng_state())
    assert modes == [layer.training for layer in model.modules()] and any(modes)
    with torch.no_grad():
        plain = model.backbone(inputs[:, :, :MEMORY])
        expected = model.eval().backbone(inputs[:, :, :MEMORY])
    assert not torch.allclose(plain, expected)
    torch.testing.assert_close(history, expected, rtol=1e-4, atol=1e-5)


def test_the_window_drops_and_keeps_what_it_would_without_a_memory():
    gradients = []
    for first in (0, MEMORY):
        model = build(backbone=DROPPING)
        torch.manual_seed(7)
        samples = [make_sample((True, ) * (MEMORY - first))] * 2
        *_, working = model.extract(draw_frames(size=32)[:, :, first:], samples)
        working.sin().sum().backward()
        gradients.append([p.grad for p in model.backbone.parameters()])
    for with_memory, without in zip(*gradients):
        assert torch.equal(with_memory, without)


def test_modes_return_after_an_error():
    layer = torch.nn.Sequential(torch.nn.Dropout(), torch.nn.BatchNorm1d(1).eval())
    with pytest.raises(KeyError), evaluation_mode(layer):
        assert not layer[0].training
        raise KeyError
    assert layer.training and layer[0].training and not layer[1].training


@every_head
def test_one_step_of_training_moves_backbone_and_head(head):
    model = build(head)
    frames = [torch.randint(256, (3, MEMORY + FRAMES, 16, 16), dtype=torch.uint8)] * 2
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    log = model.train_step(
        dict(inputs=frames, data_samples=[make_sample(), make_sample((False, ) * MEMORY)]),
        OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1)))
    assert set(log) == {'loss', 'loss_cls'}
    moved = {name.split('.')[0] for name, p in model.named_parameters()
             if not torch.equal(before[name], p)}
    assert moved == {'backbone', 'head'}


@every_head
@pytest.mark.parametrize('mask', [(True, ) * MEMORY, (False, ) * MEMORY])
def test_every_parameter_gets_a_gradient(head, mask):
    """DDP needs no search for unused parameters, even if no frame counts."""
    model = build(head)
    for valid in ((True, ) * FRAMES, (False, ) * FRAMES):
        model.zero_grad()
        loss = model(draw_frames(), [make_sample(mask, valid)] * 2, mode='loss')['loss_cls']
        loss.backward()
        assert loss.isfinite() and (loss > 0) == valid[0]
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def rank_gradients(model, rank):
    """Take two steps on the window of this process, the second without any history."""
    found, window = [], draw_frames()[rank:rank + 1].double()
    for mask in ((True, ) * MEMORY, (False, ) * MEMORY):
        model.zero_grad()
        model(window, [make_sample(mask)], mode='loss')['loss_cls'].backward()
        found.append([p.grad.clone() for p in model.parameters()])
    return found


def train_in_process(rank):
    results = {}
    for head in HEADS:  # no find_unused_parameters: a parameter without gradient would raise
        model = DistributedDataParallel(build(head, keep_ratio=1).double())
        results[head] = rank_gradients(model, rank)
    return results


@pytest.mark.slow
def test_ddp_averages_the_gradients_of_both_processes():
    for head, found in run_processes(train_in_process)[0].items():
        alone = [rank_gradients(build(head, keep_ratio=1).double(), rank) for rank in (0, 1)]
        for average, first, second in zip(found, *alone):
            for a, b, c in zip(average, first, second):
                torch.testing.assert_close(a, (b + c) / 2)


@pytest.mark.parametrize('memory_backprop', [False, True])
def test_bfloat16_autocast_keeps_the_gradient_of_the_window(memory_backprop):
    """A weight cast without gradient for the history must not be reused for the window."""
    gradients = []
    for enabled in (False, True):
        model = build(memory_backprop=memory_backprop)
        with torch.autocast('cpu', torch.bfloat16, enabled=enabled):
            loss = model(draw_frames(), [make_sample(), make_sample()], mode='loss')['loss_cls']
        loss.backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.backbone.parameters()]))
    assert torch.nn.functional.cosine_similarity(*gradients, dim=0) > 0.98


def test_predictions_are_distributions_and_unreadable_samples_are_left_alone():
    model = build().eval()
    frames = torch.randint(256, (3, MEMORY + FRAMES, 16, 16), dtype=torch.uint8)
    bad, good = model.val_step(dict(
        inputs=[None, frames], data_samples=[make_sample(error='cannot be read'), make_sample()]))
    assert good.pred_scores.shape == (FRAMES, 1 + CLASSES)
    assert good.pred_scores.dtype == torch.float32 and 'pred_scores' not in bad
    torch.testing.assert_close(good.pred_scores.sum(dim=1), torch.ones(FRAMES))
    none, = model.val_step(dict(inputs=[None], data_samples=[make_sample(error='gone')]))
    assert 'pred_scores' not in none


def test_features_can_be_the_input():
    model, features = build(backbone=None, in_channels=6).eval(), torch.randn(6, MEMORY + FRAMES)
    sample, = model.val_step(dict(inputs=[features], data_samples=[make_sample()]))
    logits = model.head(features[None, :, :MEMORY], torch.ones(1, MEMORY, dtype=torch.bool),
                        features[None, :, MEMORY:])
    torch.testing.assert_close(sample.pred_scores, logits[0].softmax(dim=1))
    scores, _ = model.step(model.init_state(), features[:, 0])
    assert scores.shape == (1 + CLASSES, )


def whole_video(num_frames):
    return OnlineDataSample(metainfo=dict(
        window=Window('video', 0, num_frames, 1, 4.0, num_frames), video_id='video', error=None))


def test_samples_without_a_history_are_whole_videos():
    """Features of unequal length are padded for the batch; the padding is not scored."""
    model = build(backbone=None, in_channels=6).eval()
    model.head = MODELS.build(dict(
        LSTR, num_classes=CLASSES, in_channels=6, num_frames=FRAMES, memory_frames=MEMORY,
        memory_stride=STRIDE, windows='sliding', history_from='oldest')).eval()
    videos = [torch.randn(6, 12), torch.randn(6, 4)]
    found = model.val_step(dict(inputs=videos, data_samples=[whole_video(12), whole_video(4)]))
    for sample, video in zip(found, videos):
        torch.testing.assert_close(sample.pred_scores, model.head.score_video(video))


@pytest.mark.parametrize('windows', ['tiles', 'sliding'])
def test_a_whole_video_of_frames_has_the_scores_of_its_stream(windows):
    model, video = build().eval(), draw_frames(12, batch=1)
    model.head.slides = windows == 'sliding'
    sample, = model(video, [whole_video(12)], mode='predict')
    state, scores = model.init_state(), []
    for frame in video[0].transpose(0, 1):
        one, state = model.step(state, frame)
        scores.append(one)
    torch.testing.assert_close(sample.pred_scores, torch.stack(scores), rtol=1e-4, atol=1e-6)


def test_without_samples_the_window_is_that_of_the_head():
    model, inputs = build().eval(), draw_frames()
    assert torch.equal(model(inputs), model(inputs, [make_sample(), make_sample()]))
    assert model(inputs[:, :, :2]).shape == (2, 2, 1 + CLASSES)  # no history at all


def test_state_dict_has_the_keys_of_backbone_and_head():
    model, other = build(), build()
    torch.nn.init.normal_(other.head.classifier.weight)
    other.load_state_dict(model.state_dict())
    assert torch.equal(model.eval()(draw_frames()), other.eval()(draw_frames()))
    assert {key.split('.')[0] for key in model.state_dict()} == {'backbone', 'head'}
    assert 'backbone.conv1.conv.weight' in model.state_dict()


def test_inputs_that_do_not_fit():
    model = build()
    with pytest.raises(ModelError, match='hold 3 history frames and then .* got 3 in all'):
        model(draw_frames(MEMORY), [make_sample(), make_sample()], mode='loss')
    model.backbone = torch.nn.AvgPool3d((2, 1, 1))
    with pytest.raises(ModelError, match='one feature per frame, got 2 for 5 .*clip_len=1'):
        model(draw_frames(), [make_sample(), make_sample()], mode='loss')
    with pytest.raises(ValueError, match="mode must be 'loss', 'predict' or 'tensor', got 'train'"):
        model(None, None, mode='train')
