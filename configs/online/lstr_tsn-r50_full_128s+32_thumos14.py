# Full backpropagation through the working frames, the baseline of SBP.
_base_ = 'lstr_tsn-r50_sbp-r5_128s+32_thumos14.py'

model = dict(backbone=dict(keep_ratio=1.0))
