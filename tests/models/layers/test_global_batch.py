"""Two processes with one sample each take the step of one process with both."""
import pytest
import torch
from mmcv.cnn.bricks import DropPath as PlainDropPath
from mmengine.logging import MessageHub
from mmengine.structures import InstanceData
from processes import run_processes
from torch.nn.parallel import DistributedDataParallel

from sbp_tad.models.layers import global_batch
from sbp_tad.models.layers.global_batch import DropPath, average_over_batch, global_count
from sbp_tad.registry import MODELS
from sbp_tad.structures import OnlineDataSample, TADDataSample, Window

CLASSES, FRAMES, MEMORY, STEPS, WIDTH = 3, 16, 4, 2, 32
CNN = dict(clip_len=1, backbone=dict(type='FrameCNN', channels=WIDTH))
VIDEOMAE = dict(clip_len=4, backbone=dict(
    type='VisionTransformer', img_size=16, patch_size=8, embed_dims=WIDTH, depth=2, num_heads=2,
    num_frames=4, return_feat_map=True))
MODES = {
    'direct': dict(mode='direct', **CNN),
    'deferred': dict(mode='deferred', **CNN),
    'guided': dict(mode='deferred', sampler='gradient', **CNN),
    'token': dict(mode='token', **VIDEOMAE),
}
HEADS = {
    'anchor_free': dict(type='AnchorFreeHead', strides=(1, 2), normalizer_start=3,
                        normalizer_momentum=0.5, regression_ranges=((0, 4), (4, 100))),
    'retina': dict(type='RetinaHead1d', strides=(1, 2), num_convs=1, norm='LN'),
    'segmentation': dict(type='SegmentationHead'),
}
# Every mode before one head, every head behind one mode; 'online' has a head of its own.
CASES = [*((mode, 'anchor_free') for mode in MODES), ('direct', 'retina'),
         ('direct', 'segmentation'), ('direct', 'online')]


def build(mode, head):
    torch.manual_seed(0)
    backbone = dict(type='SBPBackbone', keep_ratio=0.5, seed=5, **MODES[mode])
    if head == 'online':
        cfg = dict(type='OnlineActionDetector', head=dict(
            type='GRUHead', num_classes=CLASSES, in_channels=WIDTH, channels=8, num_frames=FRAMES,
            memory_frames=MEMORY, memory_stride=1))
    else:
        neck = dict(type='ActionFormerNeck', in_channels=WIDTH, embed_channels=WIDTH,
                    num_embed_convs=1, num_stem_blocks=1, num_levels=2, block='conv', drop_path=0.5)
        cfg = dict(type='TemporalDetector', neck=None if head == 'segmentation' else neck,
                   head=dict(num_classes=CLASSES, in_channels=WIDTH, **HEADS[head]))
    model = MODELS.build(dict(backbone=backbone, **cfg))
    model.init_weights()
    return model.double().train()


def detection_sample(number):
    """Windows with one action, three, none and one; the second ends with its video."""
    lengths = [(4.0, ), (1.0, 2.0, 6.0), (), (3.0, )][number]
    window = Window('video', 0.0, FRAMES, 1, 1.0, FRAMES - 5 * (number == 1))
    sample = TADDataSample(metainfo=dict(window=window, video_id='video', error=None))
    sample.gt_instances = InstanceData(
        segments_seconds=torch.tensor([(2.0 + i, 2.0 + i + length) for i, length in
                                       enumerate(lengths)], dtype=torch.float64).reshape(-1, 2),
        labels=torch.arange(len(lengths)))
    return sample


def online_sample(number):
    window = Window('video', 0, FRAMES, 1, 4.0, FRAMES)
    sample = OnlineDataSample(metainfo=dict(window=window, video_id='video', error=None))
    sample.memory_mask = torch.arange(MEMORY) >= number
    sample.frame_targets = torch.eye(1 + CLASSES)[torch.arange(FRAMES) % (1 + number)]
    sample.frame_valid = torch.arange(FRAMES) >= 3 * number
    return sample


def frames_of(number, head):
    generator = torch.Generator().manual_seed(number)
    num_frames = FRAMES + MEMORY * (head == 'online')
    return torch.randn(3, num_frames, 16, 16, generator=generator, dtype=torch.float64)


def train(model, head, rank=0, world=1):
    """Gradients of each step; the batch of two is dealt out among the processes."""
    make_sample = online_sample if head == 'online' else detection_sample
    found = []
    for step in range(STEPS):
        MessageHub.get_current_instance().update_info('iter', step)
        torch.manual_seed(step)  # as ExactResumeHook does, in all processes alike
        numbers = [2 * step, 2 * step + 1][rank::world]
        model.zero_grad()
        losses = model(torch.stack([frames_of(number, head) for number in numbers]),
                       [make_sample(number) for number in numbers], mode='loss')
        sum(losses.values()).backward()
        found.append({name.removeprefix('module.'): p.grad.clone()
                      for name, p in model.named_parameters() if p.grad is not None})
    return found


def work(rank):
    return [train(DistributedDataParallel(build(mode, head), find_unused_parameters=True), head,
                  rank, 2) for mode, head in CASES]


@pytest.fixture(scope='module')
def of_two_processes():
    return dict(zip(CASES, run_processes(work)[0]))


@pytest.mark.slow
@pytest.mark.parametrize('mode, head', CASES)
def test_gradients_are_those_of_the_whole_batch(mode, head, of_two_processes):
    for found, expected in zip(of_two_processes[mode, head], train(build(mode, head), head)):
        assert any(name.startswith('backbone') and g.any() for name, g in expected.items())
        # segments are float32 whatever the model
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-7)


def test_one_process_counts_alone():
    count = global_count(torch.tensor([True, False, True]))
    assert count == 2 and global_count(torch.zeros(0, dtype=torch.bool)) == 1
    assert average_over_batch(torch.tensor(5.0), count) == 2.5


def test_stochastic_depth_of_one_process_is_mmcv_s():
    x, drops = torch.ones(64, 2, 3), [DropPath(0.3), PlainDropPath(0.3)]
    found = []
    for drop in drops:
        torch.manual_seed(0)
        found.append(drop(x))
    assert torch.equal(*found) and 0 < (found[0] == 0).all(dim=(1, 2)).sum() < 64
    assert torch.equal(drops[0].eval()(x), x) and torch.equal(DropPath(0.0)(x), x)


def test_processes_share_out_one_draw(monkeypatch):
    x, drop, parts = torch.ones(6, 1), DropPath(0.5), []
    torch.manual_seed(0)
    whole = drop(x)
    monkeypatch.setattr(global_batch, 'get_world_size', lambda: 3)
    for rank in range(3):
        monkeypatch.setattr(global_batch, 'get_rank', lambda rank=rank: rank)
        torch.manual_seed(0)
        parts.append(drop(x[rank::3]))
    assert torch.equal(torch.stack(parts, dim=1).flatten(0, 1), whole)
