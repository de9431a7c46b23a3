"""Components of the model side; importing this registers them."""
from sbp_tad.models import handlers  # noqa: F401, registers the rules of token-level SBP
from sbp_tad.models.anchor_free_head import AnchorFreeHead
from sbp_tad.models.data_preprocessor import TADDataPreprocessor
from sbp_tad.models.detector import TemporalDetector
from sbp_tad.models.image_backbones import ConvNeXt, ImageViT
from sbp_tad.models.losses import AlignedDIoULoss, SigmoidFocalLoss
from sbp_tad.models.pyramid_neck import ActionFormerNeck
from sbp_tad.models.sbp_backbone import SBPBackbone
from sbp_tad.models.segmentation_head import SegmentationHead

__all__ = [
    'ActionFormerNeck', 'AlignedDIoULoss', 'AnchorFreeHead', 'ConvNeXt', 'ImageViT',
    'SBPBackbone', 'SegmentationHead', 'SigmoidFocalLoss', 'TADDataPreprocessor',
    'TemporalDetector'
]
