"""Stochastic backpropagation (SBP): a full forward pass and a random part of the backward.

Cheng et al., "Stochastic Backpropagation: A Memory Efficient Strategy for
Training Video Models", CVPR 2022. This package depends on torch only, not on
OpenMMLab, and works with any PyTorch model.
"""
from sbp_tad.sbp.apply import SBPReport, apply_sbp, blocks_named, remove_sbp
from sbp_tad.sbp.clipwise import ClipwiseSBP, check_batch_norm, encode_clips, encode_stochastically
from sbp_tad.sbp.config import SBPConfig, SBPError
from sbp_tad.sbp.deferred import encode_deferred
from sbp_tad.sbp.frozen_norm import fold_frozen_norm, unfold_frozen_norm
from sbp_tad.sbp.memory import SavedMemory
from sbp_tad.sbp.pointwise import prefer_onednn
from sbp_tad.sbp.sampling import (
                                  SAMPLERS,
                                  draw_kept_clips,
                                  inclusion_probabilities,
                                  keep_count,
                                  sample_systematic,
)
from sbp_tad.sbp.token_config import TokenSBPConfig

__all__ = [
    'SAMPLERS', 'ClipwiseSBP', 'SBPConfig', 'SBPError', 'SBPReport', 'SavedMemory',
    'TokenSBPConfig', 'apply_sbp', 'blocks_named', 'check_batch_norm', 'draw_kept_clips',
    'encode_clips', 'encode_deferred', 'encode_stochastically', 'fold_frozen_norm',
    'inclusion_probabilities', 'keep_count', 'prefer_onednn', 'remove_sbp', 'sample_systematic',
    'unfold_frozen_norm'
]
