"""Invalid layouts of clips are refused, with advice."""
from __future__ import annotations

import pytest

from sbp_tad.models.backbones.clip_layout import ClipLayout
from sbp_tad.sbp import SBPError


@pytest.mark.parametrize('options, message', [
    (dict(clip_len=0), 'clip_len must be a whole number of at least 1, got 0'),
    (dict(clip_len=2.5), 'clip_len must be a whole number of at least 1, got 2.5'),
    (dict(clip_len=4, context_frames=-1), 'context_frames must be a whole number of at least 0'),
    (dict(context_frames=2), 'context_frames=2 are taken from neighbouring clips'),
    (dict(input_format='NTCHW'), r"input_format must be one of \('NCHW', 'NCTHW'\), got 'NTCHW'")])
def test_layouts_that_cannot_be(options, message):
    with pytest.raises(SBPError, match=message):
        ClipLayout(**options)


def test_a_clip_has_the_frames_that_the_network_exchanges():
    layout = ClipLayout(clip_len=8, context_frames=2)
    layout.check_num_segments(None)
    layout.check_num_segments(12)
    ClipLayout().check_num_segments(12)  # a batch of clips: as many as come
    with pytest.raises(SBPError, match='set clip_len to 4 or num_segments to 12'):
        layout.check_num_segments(8)
