"""Models of a comparison are built without downloads."""
from mmengine.config import ConfigDict

from sbp_tad.comparison.models import without_pretrained


def test_nothing_is_downloaded():
    model = ConfigDict(backbone=dict(keep_ratio=1, backbone=dict(
        type='SwinTransformer3D', pretrained='https://somewhere', pretrained2d=True)))
    inner = without_pretrained(model).backbone.backbone
    assert inner.pretrained is None and inner.pretrained2d is False
    assert model.backbone.backbone.pretrained == 'https://somewhere'
