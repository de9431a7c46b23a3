"""Types of the layers inside mmcv's FFN."""
from __future__ import annotations

from mmcv.cnn.bricks import wrappers
from mmengine.model import Sequential

from sbp_tad.sbp.inner_layers import PLAIN_TYPES

# mmcv's linear layer differs from torch's for empty inputs only.
FFN_TYPES = (*PLAIN_TYPES, Sequential, wrappers.Linear)
