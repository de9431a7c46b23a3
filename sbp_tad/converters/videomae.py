"""Names of VideoMAE's own code (MCG-NJU/VideoMAE, OpenGVLab/VideoMAEv2) for mmaction2's network."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sbp_tad.converters.renaming import Rule

PREFIX = r'(?:encoder\.)?'  # of a pre-trained autoencoder
RULES = (
    Rule(PREFIX + r'patch_embed\.proj\.(weight|bias)', r'backbone.patch_embed.projection.\1'),
    Rule(PREFIX + r'(pos_embed)', r'backbone.\1'),  # of networks that learn it
    Rule(PREFIX + r'(blocks\.\d+\.(?:norm[12]|attn\.proj)\.(?:weight|bias))', r'backbone.\1'),
    Rule(PREFIX + r'(blocks\.\d+\.attn\.(?:qkv\.weight|q_bias|v_bias))', r'backbone.\1'),
    Rule(PREFIX + r'(blocks\.\d+\.mlp)\.fc1\.(weight|bias)', r'backbone.\1.layers.0.0.\2'),
    Rule(PREFIX + r'(blocks\.\d+\.mlp)\.fc2\.(weight|bias)', r'backbone.\1.layers.1.\2'),
    Rule(r'(fc_norm\.(?:weight|bias))', r'backbone.\1'),
    Rule(PREFIX + r'(norm\.(?:weight|bias))', r'backbone.\1'),
    Rule(r'head\.(weight|bias)', r'cls_head.fc_cls.\1'),
)
LEFT_OUT = ('decoder.', 'encoder_to_decoder.', 'mask_token')  # of a pre-trained autoencoder


def is_source(names: Mapping[str, Any]) -> bool:
    """Return whether a state dict is of this code."""
    return any(name.endswith('blocks.0.mlp.fc1.weight') for name in names) and \
        any(name.endswith('patch_embed.proj.weight') for name in names)
