"""Networks of the benchmark of SBP: backbones of mmaction and ways of training them.

A network is an SBPBackbone over a window of frames, a small temporal head and
a loss. A new backbone is one entry of :data:`BENCHMARK_MODELS`.
"""
from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from benchmarks.errors import BenchmarkError
from sbp_tad.models.backbones.sbp_backbone import SBPBackbone
from sbp_tad.sbp import TokenSBPConfig, apply_sbp


@dataclass(frozen=True)
class BenchmarkModel:
    """Backbone to measure.

    Args:
        backbone: its config.
        channels: of its features.
        clip_len: frames of a clip, L.
        frames: default of T.
        has_checkpointing: it takes ``with_cp``, checkpointing of every block.
        has_tokens: it is a transformer, for token-level SBP.
    """

    backbone: dict[str, Any]
    channels: int
    clip_len: int
    frames: int
    has_checkpointing: bool = True
    has_tokens: bool = False


BENCHMARK_MODELS: dict[str, BenchmarkModel] = {
    'tsn_r50': BenchmarkModel(
        dict(type='ResNet', depth=50, pretrained=None), channels=2048, clip_len=1, frames=128),
    'slowonly_r50': BenchmarkModel(
        dict(type='ResNet3dSlowOnly', depth=50, pretrained=None, lateral=False,
             conv1_kernel=(1, 7, 7), conv1_stride_t=1, pool1_stride_t=1, inflate=(0, 0, 1, 1)),
        channels=2048, clip_len=8, frames=64),
    'i3d_r50': BenchmarkModel(
        dict(type='ResNet3d', depth=50, pretrained=None, pretrained2d=False,
             conv1_kernel=(5, 7, 7), conv1_stride_t=2, pool1_stride_t=2,
             inflate=((1, 1, 1), (1, 0, 1, 0), (1, 0, 1, 0, 1, 0), (0, 1, 0))),
        channels=2048, clip_len=32, frames=128),
    'swin_t': BenchmarkModel(
        dict(type='SwinTransformer3D', arch='tiny', pretrained=None, pretrained2d=False,
             patch_size=(2, 4, 4), window_size=(8, 7, 7), drop_path_rate=0.1),
        channels=768, clip_len=32, frames=32, has_tokens=True),
    'videomae_s': BenchmarkModel(
        dict(type='VisionTransformer', img_size=224, patch_size=16, embed_dims=384, depth=12,
             num_heads=6, mlp_ratio=4, qkv_bias=True, num_frames=16,
             norm_cfg=dict(type='LN', eps=1e-6), return_feat_map=True),
        channels=384, clip_len=16, frames=16, has_checkpointing=False, has_tokens=True),
    'mvit_s': BenchmarkModel(
        dict(type='MViT', arch='small', drop_path_rate=0.2, output_cls_token=False),
        channels=768, clip_len=16, frames=16, has_checkpointing=False, has_tokens=True),
}


@dataclass(frozen=True)
class Variant:
    """Way of training the backbone.

    Args:
        ideal: seconds of a step without overhead, from the keep ratio r and the seconds f and b
            of the full forward and backward.
        share: kept share of the backward where no keep ratio applies.
        mode: of SBPBackbone, None where no whole clips are dropped.
        saves_share: the saved bytes are at least this share of those of full backpropagation.
    """

    ideal: Callable[[float, float, float], float]
    share: float | None = None
    mode: str | None = None
    saves_share: bool = True

    def saved_bound(self, keep_ratio: float) -> float | None:
        """Return the least share of the saved bytes, None where the ratio does not determine it."""
        return keep_ratio if self.saves_share else None


def one_forward(r: float, f: float, b: float) -> float:
    """Return the seconds of one full forward and the kept share of the backward."""
    return f + r * b


VARIANTS: dict[str, Variant] = {
    'full': Variant(one_forward, share=1.0),
    'frozen': Variant(one_forward, share=0.0),
    'checkpoint': Variant(lambda r, f, b: 2 * f + b, share=1.0, saves_share=False),
    'sbp-direct': Variant(one_forward, mode='direct'),
    'sbp-deferred': Variant(lambda r, f, b: f + r * (f + b), mode='deferred', saves_share=False),
    'sbp-token': Variant(one_forward),
}


@dataclass(frozen=True)
class BenchmarkCase:
    """One network and its input; it is sent to the process that measures it.

    Args:
        model: the backbone.
        variant: a name in :data:`VARIANTS`.
        keep_ratio: r of the SBP variants, the kept share of the others.
        frames, size, batch: of the input (B, 3, T, S, S).
        sampler, fold_bn, clips_at_once: of SBPBackbone; None takes its
            default.
        mask, kv, shortcut: of token-level SBP; None takes its default.
        device, amp, threads, repeats: settings of the measurement.
    """

    model: BenchmarkModel
    variant: str
    keep_ratio: float
    frames: int
    size: int = 112
    batch: int = 1
    sampler: str | None = None
    fold_bn: bool = True
    clips_at_once: int | None = None
    mask: str | None = None
    kv: str | None = None
    shortcut: str | None = None
    device: str = 'cpu'
    amp: bool = False
    threads: int = 1
    repeats: int = 5


class BenchmarkNetwork(nn.Module):
    """Backbone, three temporal convolutions and a loss."""

    def __init__(self, backbone: SBPBackbone, channels: int, width: int = 256,
                 num_classes: int = 20) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Sequential(
            nn.Conv1d(channels, width, 3, padding=1), nn.ReLU(),
            nn.Conv1d(width, width, 3, padding=1), nn.ReLU(),
            nn.Conv1d(width, num_classes, 3, padding=1))

    def forward(self, video: Tensor) -> Tensor:
        """Return the loss of a window (B, 3, T, S, S), a scalar."""
        scores = self.head(self.backbone(video))  # (B, num_classes, T')
        return scores.float().square().mean()


def build_network(case: BenchmarkCase) -> BenchmarkNetwork:
    """Build the network of a case in training mode, on the default device.

    Raises:
        BenchmarkError: the model or the number of frames does not allow the variant.
        SBPError: the options of SBP exclude each other.
    """
    check_case(case)
    config = dict(case.model.backbone)
    if case.variant == 'checkpoint':
        config['with_cp'] = True
    is_sbp, mode = case.variant.startswith('sbp'), VARIANTS[case.variant].mode
    clipwise = dict(keep_ratio=case.keep_ratio, mode=mode,
                    **_chosen(case, 'sampler', 'clips_at_once')) if mode else dict(keep_ratio=1.0)
    # mmaction's Video Swin warns so whenever it is built.
    warnings.filterwarnings('ignore', 'torch.meshgrid: in an upcoming release')
    backbone = SBPBackbone(config, clip_len=case.model.clip_len, seed=0,
                           fold_bn=is_sbp and case.fold_bn, **clipwise)
    if case.variant == 'sbp-token':
        options = _chosen(case, 'mask', 'kv', 'shortcut')
        apply_sbp(backbone.backbone, TokenSBPConfig(case.keep_ratio, **options))
    backbone.requires_grad_(case.variant != 'frozen')
    return BenchmarkNetwork(backbone, case.model.channels).train()


def _chosen(case: BenchmarkCase, *names: str) -> dict[str, Any]:
    """Return the options that are set, without those left to their default."""
    return {name: getattr(case, name) for name in names if getattr(case, name) is not None}


def check_case(case: BenchmarkCase) -> None:
    """Check that the model and the number of frames allow the variant.

    Raises:
        BenchmarkError: they do not.
    """
    name, clip_len = case.model.backbone['type'], case.model.clip_len
    if case.frames < 1 or case.frames % clip_len:
        raise BenchmarkError(f'--frames must be a positive multiple of {clip_len}, the frames of a '
                             f'clip of {name}, got {case.frames}; choose --frames {2 * clip_len}.')
    if VARIANTS[case.variant].mode and case.frames == clip_len:
        raise BenchmarkError(f'{case.variant} drops whole clips, but --frames {case.frames} is a '
                             f'single clip of {name}; choose --frames {4 * clip_len}.')
    if case.variant == 'sbp-token' and not case.model.has_tokens:
        raise BenchmarkError(f'sbp-token drops tokens of a transformer, but {name} is none; '
                             'choose sbp-direct or sbp-deferred.')
    if case.variant == 'checkpoint' and not case.model.has_checkpointing:
        raise BenchmarkError(f'{name} of mmaction has no checkpointing of its blocks (with_cp); '
                             'remove checkpoint from --variant.')
