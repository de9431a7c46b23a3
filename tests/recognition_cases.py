"""Recognition configs made small, and the clips, frames and images that they read."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from sbp_tad.datasets.toy_videos.build import write_video
from sbp_tad.planning.saved_memory import meter_saved_memory

SIZE, NUM_FRAMES, SCALE = 32, 8, 36  # pixels, frames of a clip, pixels before cropping
COLORS = ((220, 40, 40), (40, 200, 60), (40, 60, 220), (230, 230, 230))  # one a class

# Options that make a backbone small, with its depth where blocks are named, and its width.
SMALL_BACKBONES: dict[str, tuple[dict[str, Any], int]] = {
    'ResNet': (dict(depth=18), 512),
    'ResNetTSM': (dict(depth=18, pretrained2d=False), 512),
    'ResNet3d': (dict(base_channels=8), 256),
    'ResNet3dSlowOnly': (dict(base_channels=8), 256),
    'VisionTransformer': (dict(img_size=SIZE, patch_size=8, embed_dims=32, depth=4, num_heads=2,
                               num_frames=NUM_FRAMES), 32),
    'MViT': (dict(arch=dict(embed_dims=16, num_layers=4, num_heads=1, downscale_indices=[1, 3]),
                  spatial_size=SIZE, temporal_size=NUM_FRAMES), 64),
    'UniFormer': (dict(depth=[1, 1, 3, 1], embed_dim=[16, 32, 64, 64], head_dim=16,
                       img_size=SIZE), 64),
    'ImageViT': (dict(img_size=SIZE, patch_size=8, embed_dims=32, num_heads=2), 32),
    'ConvNeXt': (dict(channels=(8, 8, 16, 16), layer_scale=1.0), 16),
    'TANet': ({}, 2048),
    'C2D': ({}, 2048),
    'C3D': (dict(out_dim=2048), 4096),
    'ResNet3dCSN': (dict(depth=50, base_channels=16), 512),
    'ResNet2Plus1d': (dict(base_channels=8), 64),
    'ResNet3dSlowFast': (dict(slow_pathway=dict(base_channels=16),
                              fast_pathway=dict(base_channels=2)), 576),
    'OmniResNet': (dict(layers=[1, 1, 1, 1]), 2048),
    'TimeSformer': (dict(img_size=SIZE, patch_size=8, embed_dims=32, num_heads=2,
                         num_transformer_layers=2), 32),
    'UniFormerV2': (dict(input_resolution=SIZE, patch_size=8, width=64, layers=2, heads=2,
                         return_list=[0, 1], n_layers=2, n_dim=64, n_head=2,
                         mlp_dropout=[0.5, 0.5], clip_pretrained=False), 64),
    'X3D': ({}, 432),
    'MobileNetV2TSM': (dict(pretrained2d=False), 1280),
    'ResNetTIN': (dict(pretrained2d=False), 2048),
}
SWIN_DEPTHS = dict(tiny=(2, 2, 6, 2), small=(2, 2, 18, 2), base=(2, 2, 18, 2))


def write_clips(folder: Path) -> Path:
    """Two videos, folders of frames and images a class, listed as mmaction lists them."""
    lists: dict[str, list[str]] = dict(videos=[], frames=[], whole_frames=[], images=[])
    rng = np.random.default_rng(0)
    for number in range(2 * len(COLORS)):
        label = number % len(COLORS)
        frames = [np.uint8(np.clip(np.array(COLORS[label]) + rng.normal(
            0, 12, (SCALE, SCALE, 3)), 0, 255)) for _ in range(2 * NUM_FRAMES)]
        write_video(folder / f'v{number}.mp4', frames, 8)
        (folder / f'v{number}').mkdir()
        for index, frame in enumerate(frames, start=1):
            cv2.imwrite(str(folder / f'v{number}' / f'frame_{index:010}.jpg'), frame[..., ::-1])
            for axis in 'xy':
                flow = folder / f'v{number}' / f'flow_{axis}_{index:05}.jpg'
                cv2.imwrite(str(flow), frame[..., 0])
        lists['videos'].append(f'v{number}.mp4 {label}')
        lists['frames'].append(f'v{number} 4 {NUM_FRAMES} {label}')
        lists['whole_frames'].append(f'v{number} {2 * NUM_FRAMES} {label}')
        lists['images'].append(f'v{number}/frame_0000000001.jpg {label}')
    for name, lines in lists.items():
        (folder / f'{name}.txt').write_text('\n'.join(lines) + '\n')
    return folder


def shrink_backbone(backbone: Config) -> int:
    """Shrink the config of a backbone in place; the channels it gives then."""
    for key in ('pretrained', 'init_cfg'):
        if key in backbone:
            backbone[key] = None
    if backbone.type == 'SwinTransformer3D':
        backbone.update(pretrained2d=False, arch=dict(
            embed_dims=8, depths=SWIN_DEPTHS[backbone.arch], num_heads=[1, 1, 2, 2]))
        return 64
    options, width = SMALL_BACKBONES[backbone.type]
    for key, value in options.items():
        if isinstance(value, dict) and isinstance(backbone.get(key), dict):
            backbone[key].update(value)
        else:
            backbone[key] = value
    return width


def shrink_pipeline(pipeline: list) -> list:
    """Fewer frames and pixels; without what needs a library that is not installed."""
    sizes = dict(Resize=dict(scale=(SIZE, SIZE)), CenterCrop=dict(crop_size=SIZE),
                 ThreeCrop=dict(crop_size=SIZE), MultiScaleCrop=dict(input_size=SIZE),
                 RandomCrop=dict(size=SIZE))
    small = []
    for transform in pipeline:
        transform.update(sizes.get(transform.type, {}))
        transform.pop('flip_label_map', None)  # of classes that the small data do not have
        if transform.type == 'SampleFrames' and transform.clip_len > 1:
            transform.update(clip_len=NUM_FRAMES, frame_interval=1)
        if transform.type == 'Resize' and transform.get('keep_ratio', True):
            transform.scale = (-1, SCALE)
        if transform.type != 'PytorchVideoWrapper':
            small.append(transform)
    return small


def shrink_dataset(dataset: Config, folder: Path, items: int) -> None:
    """The first clips of ``folder`` for a dataset's own, whatever its kind."""
    if dataset.type == 'RawframeDataset':
        name = 'frames.txt' if dataset.get('with_offset') else 'whole_frames.txt'
        dataset.update(ann_file=str(folder / name), data_prefix=dict(img=str(folder)),
                       filename_tmpl='frame_{:010}.jpg')
    else:
        images = dataset.pipeline[0].type == 'ImageDecode'
        dataset.update(ann_file=str(folder / ('images.txt' if images else 'videos.txt')),
                       data_prefix=dict(video=str(folder)))
    dataset.update(pipeline=shrink_pipeline(dataset.pipeline), indices=items)


def shrink(cfg: Config, folder: Path, work_dir: Path, steps: int, rate: float = 2e-3) -> Config:
    """``steps`` steps of one batch of all clips, then validation; the recipe's parts as they are.

    The learning ``rate`` is constant: the network is small and has no pretrained weights.
    """
    cfg.work_dir, cfg.experiment_name, cfg.load_from = str(work_dir), work_dir.name, None
    width, num_classes = shrink_backbone(cfg.model.backbone.backbone), len(COLORS)
    cfg.model.cls_head.update(in_channels=width, num_classes=num_classes, dropout_ratio=0.0)
    for augment in cfg.model.data_preprocessor.get('blending', {}).get('augments', []):
        augment.num_classes = num_classes
    for name, items in (('train', 2 * num_classes), ('val', num_classes)):
        loader = cfg[f'{name}_dataloader']
        loader.update(batch_size=items, num_workers=0, persistent_workers=False)
        shrink_dataset(loader.dataset, folder, items)
    cfg.optim_wrapper.optimizer = dict(type='AdamW', lr=rate, weight_decay=0.05)
    cfg.param_scheduler = []
    cfg.train_cfg.update(max_epochs=steps, val_begin=1, val_interval=steps)
    cfg.default_hooks.checkpoint.update(interval=steps, save_optimizer=False, save_best=None)
    cfg.randomness = dict(seed=0)
    return cfg


def saved_bytes(runner: Runner, keep_ratio: float) -> int:
    """Return the bytes that a training step of the runner's model saves at this keep ratio."""
    model = runner.model
    model.train()
    model.backbone.set_keep_ratio(keep_ratio)
    batch = model.data_preprocessor(next(iter(runner.train_dataloader)), training=True)
    with runner.optim_wrapper.optim_context(model), meter_saved_memory(model) as saved:
        loss = sum(model(**batch, mode='loss')['loss_cls'].flatten())
    assert torch.isfinite(loss)
    return saved.bytes
