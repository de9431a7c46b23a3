# LSTR as published: two streams of features, a history of 512 s, a column of ambiguous frames, and
# in testing windows that slide by one frame.
_base_ = 'lstr.py'

model = dict(
    backbone=None,
    head=dict(in_channels=2048 + 1024, memory_frames=512, has_ambiguous_class=True,
              windows='sliding', history_from='oldest'))
