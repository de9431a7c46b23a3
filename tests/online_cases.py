"""The table of heads of online detection in small, and a video cut as testing cuts it."""
from __future__ import annotations

import torch
from reference.sliding_windows import history_of_window

from sbp_tad.registry import MODELS

CHANNELS, CLASSES = 6, 3
HEADS = {
    'lstr': dict(type='LSTRHead', channels=8, num_heads=2, feedforward_channels=12, dropout=0.0,
                 num_queries=(2, 3)),
    'gru': dict(type='GRUHead', channels=8),
    'gru_2_layers': dict(type='GRUHead', channels=8, num_layers=2),
}


def build_head(case, **options):
    """A small head of double precision, in evaluation mode."""
    torch.manual_seed(0)
    settings = dict(HEADS[case], num_classes=CLASSES, in_channels=CHANNELS, num_frames=4,
                    memory_frames=3, memory_stride=2)
    head = MODELS.build(settings | options)
    head.init_weights()
    return head.double().eval()


def draw_features(num_frames, batch=1, seed=0):
    """(B, C', n) of double precision."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, CHANNELS, num_frames, generator=generator, dtype=torch.float64)


def history_of(features, start, memory_frames, memory_stride, history_from='working'):
    """Memory (1, C', M) and mask of the window that begins at frame ``start``."""
    frames = history_of_window(start, memory_frames, memory_stride, history_from)
    mask = torch.tensor([[frame is not None for frame in frames]], dtype=torch.bool)
    index = torch.tensor([frame or 0 for frame in frames], dtype=torch.int64)
    return features[:, :, index], mask


def score_video(head, features):
    """(n, 1 + classes) of a video (1, C', n) in windows one after the other."""
    windows = []
    for start in range(0, features.shape[2], head.num_frames):
        history, mask = history_of(features, start, head.memory_frames, head.memory_stride,
                                   head.history_from)
        windows.append(head.predict(history, mask, features[:, :, start:start + head.num_frames]))
    return torch.cat(windows, dim=1)[0]
