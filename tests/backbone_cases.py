"""Table of mmaction's RGB backbones in SBPBackbone: one row each."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


def of_frames(maps: Tensor) -> Tensor:
    """Pool the frames of one clip (t, C, h, w) to (1, C, t)."""
    return maps.mean(dim=(2, 3)).T[None]


def of_clip(video_map: Tensor) -> Tensor:
    """Pool the map of one clip (1, C, t, h, w) to (1, C, t)."""
    return video_map.mean(dim=(3, 4))


def of_vector(vector: Tensor) -> Tensor:
    """Shape the vector of one clip (1, C) to (1, C, 1)."""
    return vector[:, :, None]


def of_pathways(pathways: tuple[Tensor, Tensor]) -> Tensor:
    """Pool SlowFast's two maps of one clip to (1, C, t), fast steps averaged in runs."""
    slow, fast = map(of_clip, pathways)
    runs = fast.unflatten(2, (slow.shape[2], -1)).mean(dim=3)
    return torch.cat([slow, runs], dim=1)


@dataclass(frozen=True)
class Case:
    """One small backbone.

    Args:
        backbone: its config.
        clip_len: frames per clip.
        channels: C of its features.
        stride: frames per feature step.
        pool: what the backbone returns for one clip, made (1, C, t) by hand.
        head: config of a recognizer's head; None where the output is for detection alone.
        size: pixels on a side.
        unfolded: batch normalizations that do not follow a convolution.
        context: frames of context and the backbone's options with which it works; None where
            frames of a clip are fixed or a clip is one vector.
    """

    backbone: dict[str, Any]
    clip_len: int
    channels: int
    stride: int
    pool: Callable[[Any], Tensor]
    head: str | None
    size: int = 32
    unfolded: int = 0
    context: tuple[int, dict[str, Any]] | None = None

    @property
    def takes_frames(self) -> bool:
        """Tell whether the backbone takes frames (n * L, C, H, W) rather than clips."""
        return self.pool is of_frames


TWO_STAGES = dict(num_stages=2, strides=(1, 2), dilations=(1, 1), out_indices=(1, ),
                  pretrained=None)
THREE_STAGES = dict(
    depth=18, base_channels=8, num_stages=3, out_indices=(2, ), spatial_strides=(1, 2, 2),
    dilations=(1, 1, 1), pretrained=None)
PATHWAY = dict(type='resnet3d', depth=18, pretrained=None, conv1_stride_t=1, pool1_stride_t=1)
TIMESFORMER = dict(type='TimeSformer', num_frames=4, img_size=32, patch_size=16, embed_dims=24,
                   num_heads=2, num_transformer_layers=2)
VIDEOMAE = dict(type='VisionTransformer', img_size=32, patch_size=16, embed_dims=24, depth=2,
                num_heads=2, num_frames=4)

CASES = {
    'tsn': Case(dict(type='ResNet', depth=18, **TWO_STAGES), 1, 128, 1, of_frames, 'TSNHead'),
    'tsm': Case(dict(type='ResNetTSM', depth=18, num_segments=2, pretrained2d=False),
                2, 512, 1, of_frames, 'TSMHead', context=(1, dict(num_segments=4))),
    'tanet': Case(dict(type='TANet', depth=50, num_segments=4, **TWO_STAGES), 4, 512, 1, of_frames,
                  'TSMHead', unfolded=7),
    'mobilenet_v2': Case(dict(type='MobileNetV2', widen_factor=0.25), 1, 1280, 1, of_frames,
                         'TSNHead'),
    'mobilenet_v2_tsm': Case(dict(type='MobileNetV2TSM', widen_factor=0.25, num_segments=4,
                                  pretrained2d=False), 4, 1280, 1, of_frames, 'TSMHead'),
    'mobileone_tsm': Case(dict(type='MobileOneTSM', arch='s0', num_segments=4,
                               pretrained2d=False), 4, 1024, 1, of_frames, 'TSMHead'),
    'c2d': Case(dict(type='C2D', depth=50, **TWO_STAGES), 4, 512, 2, of_clip, 'I3DHead',
                context=(2, {})),
    'i3d': Case(dict(type='ResNet3d', temporal_strides=(1, 1, 1), inflate=(1, 1, 1),
                     with_pool2=False, conv1_kernel=(3, 7, 7), conv1_stride_t=2,
                     pool1_stride_t=1, **THREE_STAGES), 4, 32, 2, of_clip, 'I3DHead',
                context=(2, {})),
    'slowonly': Case(dict(type='ResNet3dSlowOnly', temporal_strides=(1, 1, 1),
                          inflate=(0, 1, 1), **THREE_STAGES), 4, 32, 1, of_clip, 'I3DHead',
                     context=(3, {})),
    'csn': Case(dict(type='ResNet3dCSN', temporal_strides=(1, 2, 2), inflate=(1, 1, 1),
                     with_pool2=False, pretrained2d=False, **(THREE_STAGES | dict(depth=50))),
                8, 128, 4, of_clip, 'I3DHead', context=(4, {})),
    'r2plus1d': Case(dict(type='ResNet2Plus1d', temporal_strides=(1, 2, 2), inflate=(1, 1, 1),
                          conv1_kernel=(3, 7, 7), conv1_stride_t=1, pool1_stride_t=1,
                          pretrained2d=False, conv_cfg=dict(type='Conv2plus1d'),
                          norm_cfg=dict(type='BN3d'), **THREE_STAGES), 4, 32, 4, of_clip,
                     'I3DHead', context=(4, {})),
    'slowfast': Case(dict(type='ResNet3dSlowFast', pretrained=None, resample_rate=4,
                          speed_ratio=4, channel_ratio=4,
                          slow_pathway=dict(lateral=True, base_channels=8,
                                            conv1_kernel=(1, 7, 7), inflate=(0, 0, 1, 1),
                                            **PATHWAY),
                          fast_pathway=dict(lateral=False, base_channels=2,
                                            conv1_kernel=(5, 7, 7), **PATHWAY)),
                     8, 80, 4, of_pathways, 'SlowFastHead', context=(4, {})),
    'omni': Case(dict(type='OmniResNet', layers=[1, 1, 1, 1]), 2, 2048, 1, of_clip, 'I3DHead',
                 size=16, unfolded=13, context=(1, {})),
    'c3d': Case(dict(type='C3D', out_dim=512, dropout_ratio=0.0), 16, 4096, 16, of_vector,
                'C3DHead', size=16),
    'x3d': Case(dict(type='X3D', gamma_w=0.3, gamma_b=2.25, gamma_d=0.2), 4, 144, 1, of_clip,
                'X3DHead', context=(2, {})),
    'swin': Case(dict(type='SwinTransformer3D', pretrained=None, pretrained2d=False,
                      drop_path_rate=0.0, patch_size=(2, 4, 4), window_size=(2, 4, 4),
                      arch=dict(embed_dims=12, depths=[2, 2, 1, 1], num_heads=[2, 2, 2, 2]),
                      out_indices=(1, )), 4, 24, 2, of_clip, 'I3DHead',
                 context=(2, {})),
    'videomae': Case(VIDEOMAE | dict(return_feat_map=True), 4, 24, 2, of_clip, None,
                     context=(2, dict(num_frames=8))),
    'videomae_vector': Case(VIDEOMAE, 4, 24, 4, of_vector, 'TimeSformerHead'),
    'mvit': Case(dict(type='MViT', spatial_size=32, temporal_size=4, arch=dict(
        embed_dims=12, num_layers=3, num_heads=1, downscale_indices=[1])), 4, 24, 2,
        lambda scales: of_clip(scales[0][0]), 'MViTHead',
        context=(2, dict(temporal_size=8))),
    'mvit_without_class_token': Case(dict(
        type='MViT', spatial_size=32, temporal_size=4, with_cls_token=False,
        output_cls_token=False, arch=dict(
            embed_dims=12, num_layers=3, num_heads=1, downscale_indices=[1])), 4, 24, 2,
        lambda scales: of_clip(scales[0]), None),
    'uniformer': Case(dict(type='UniFormer', depth=[1, 1, 1, 1], img_size=32, head_dim=16,
                           embed_dim=[8, 16, 32, 32], pretrained2d=False), 4, 32, 2, of_clip,
                      'I3DHead', unfolded=5, context=(2, {})),
    'uniformer_v2': Case(dict(type='UniFormerV2', input_resolution=32, width=24, layers=2,
                              heads=2, t_size=4, return_list=[0, 1], n_layers=2, n_dim=24,
                              n_head=2, mlp_dropout=[0.0, 0.0], clip_pretrained=False), 4, 24, 4,
                         of_vector, 'UniFormerHead'),
    'timesformer': Case(TIMESFORMER, 4, 24, 4, of_vector, 'TimeSformerHead'),
    'timesformer_joint': Case(TIMESFORMER | dict(attention_type='joint_space_time'), 4, 24, 4,
                              of_vector, 'TimeSformerHead'),
    'timesformer_space_only': Case(TIMESFORMER | dict(attention_type='space_only'), 4, 24, 4,
                                   of_vector, 'TimeSformerHead'),
}
# Heads without dropout, so that two forwards agree.
HEADS = {
    'C3DHead': dict(type='I3DHead', spatial_type=None, dropout_ratio=0.0),
    'TSNHead': dict(dropout_ratio=0.0), 'TSMHead': dict(num_segments=4, dropout_ratio=0.0),
    'I3DHead': dict(dropout_ratio=0.0), 'X3DHead': dict(dropout_ratio=0.0),
    'SlowFastHead': dict(dropout_ratio=0.0), 'MViTHead': dict(dropout_ratio=0.0),
    'UniFormerHead': dict(dropout_ratio=0.0), 'TimeSformerHead': dict(),
}
# mmaction registers them only with a library or an mmcv that is not a requirement here.
NOT_REGISTERED = {'MobileOneTSM': 'mmaction registers MobileOneTSM only where mmpretrain is'}
# Networks whose stochastic depth is on, by the option that sets it.
STOCHASTIC_DEPTH = {
    'swin': dict(drop_path_rate=0.5), 'videomae': dict(drop_path_rate=0.5),
    'mvit': dict(drop_path_rate=0.5), 'uniformer': dict(drop_path_rate=0.5),
    'uniformer_v2': dict(drop_path_rate=0.5, mlp_dropout=[0.0, 0.5]), 'timesformer': dict(),
}
FROZEN_STAGES = ('tsn', 'tsm', 'tanet', 'mobilenet_v2', 'c2d', 'i3d', 'slowonly', 'csn',
                 'r2plus1d', 'x3d', 'swin')
