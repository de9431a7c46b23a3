"""Names of VideoMAE's own code (MCG-NJU/VideoMAE, OpenGVLab/VideoMAEv2) for mmaction2's network."""
from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from sbp_tad.converters.renaming import Rule, rename

PREFIX = r'(?:encoder\.)?'  # of a pre-trained autoencoder
RULES = (
    Rule(PREFIX + r'patch_embed\.proj\.(weight|bias)', r'backbone.patch_embed.projection.\1'),
    Rule(PREFIX + r'(blocks\.\d+\.(?:norm[12]|attn\.proj)\.(?:weight|bias))', r'backbone.\1'),
    Rule(PREFIX + r'(blocks\.\d+\.attn\.(?:qkv\.weight|q_bias|v_bias))', r'backbone.\1'),
    Rule(PREFIX + r'(blocks\.\d+\.mlp)\.fc1\.(weight|bias)', r'backbone.\1.layers.0.0.\2'),
    Rule(PREFIX + r'(blocks\.\d+\.mlp)\.fc2\.(weight|bias)', r'backbone.\1.layers.1.\2'),
    Rule(r'(fc_norm\.(?:weight|bias))', r'backbone.\1'),
    Rule(PREFIX + r'(norm\.(?:weight|bias))', r'backbone.\1'),
    Rule(r'head\.(weight|bias)', r'cls_head.fc_cls.\1'),
)


def convert(weights: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Return the weights of the encoder under mmaction2's names, and the other names.

    The decoder of a pre-trained autoencoder is left out: no detector uses it.
    """
    weights = {name: weight for name, weight in weights.items()
               if not name.startswith(('decoder.', 'encoder_to_decoder.', 'mask_token'))}
    return rename(weights, RULES)


def is_source(names: Mapping[str, Tensor]) -> bool:
    """Return whether a state dict is of this code."""
    return any(name.endswith('blocks.0.mlp.fc1.weight') for name in names) and \
        any(name.endswith('patch_embed.proj.weight') for name in names)
