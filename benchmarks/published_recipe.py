"""One reduced recipe for the published code of ActionFormer and for this project's."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from mmengine.config import Config

from sbp_tad.apis.launch import load_config

OUR_CONFIG = 'actionformer_i3d-features_thumos14'
THEIR_CONFIG = 'configs/thumos_i3d.yaml'


@dataclass(frozen=True)
class Recipe:
    """What differs from the published recipe of ActionFormer on THUMOS'14, in both codes.

    Args:
        channels: channels of the features.
        width: channels of embedding, pyramid and heads.
        num_steps: steps of a training window.
        warmup_epochs: epochs of warm-up.
        epochs: all epochs, warm-up included.
        learning_rate: of AdamW.
        ema_decay: of the averaged weights. With the published 0.999 the initial weights
            would be nearly half of the average after 800 iterations.
    """

    channels: int = 64
    width: int = 64
    num_steps: int = 576
    warmup_epochs: int = 2
    epochs: int = 8
    learning_rate: float = 1e-3
    ema_decay: float = 0.99

    def our_config(self, data: Path, seed: int) -> Config:
        """Return the config of this project for the features of ``data``."""
        features = dict(data_root=str(data), num_frames=self.num_steps, protocol='actionformer',
                        source=dict(num_channels=self.channels))
        loader = dict(num_workers=1, dataset=features)
        warmup, cosine = load_config(OUR_CONFIG).param_scheduler
        warmup.end = cosine.begin = self.warmup_epochs
        cosine.update(end=self.epochs, T_max=self.epochs - self.warmup_epochs)
        changes: dict[str, Any] = dict(
            model=dict(neck=dict(in_channels=self.channels, embed_channels=self.width),
                       head=dict(in_channels=self.width)),
            train_dataloader=loader, val_dataloader=loader, test_dataloader=loader,
            optim_wrapper=dict(optimizer=dict(lr=self.learning_rate)),
            param_scheduler=[warmup, cosine], train_cfg=dict(max_epochs=self.epochs),
            randomness=dict(seed=seed))
        cfg = load_config(OUR_CONFIG)
        cfg.merge_from_dict(changes)
        cfg.custom_hooks[0].momentum = 1 - self.ema_decay
        return cfg

    def write_their_config(self, code: Path, data: Path, seed: int, path: Path) -> None:
        """Write the config of the published code for the features of ``data``."""
        cfg = yaml.safe_load((code / THEIR_CONFIG).read_text(encoding='utf-8'))
        cfg['dataset'].update(json_file=str(data / 'annotations/thumos14.json'),
                              feat_folder=str(data / 'i3d_features'), input_dim=self.channels,
                              max_seq_len=self.num_steps)
        buffer = 6 * 2304 / self.num_steps  # as many points as published, for the longest video
        cfg['model'].update(embd_dim=self.width, fpn_dim=self.width, head_dim=self.width,
                            max_buffer_len_factor=buffer)
        cfg['opt'].update(learning_rate=self.learning_rate, warmup_epochs=self.warmup_epochs,
                          epochs=self.epochs - self.warmup_epochs)  # it adds the warm-up
        cfg['loader'].update(num_workers=1)
        cfg.update(init_rand_seed=seed, devices=['cpu'], output_folder=str(path.parent))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(cfg), encoding='utf-8')
