# As published: the stem and the first stage of the backbone are frozen.
# --cfg-options model.backbone.backbone.frozen_stages=2 (to 4, all) freezes more.
_base_ = 'daotad_i3d-r50_full_768x25fps_thumos14.py'

model = dict(backbone=dict(backbone=dict(frozen_stages=1)))
