"""Components of the model side; importing this registers them."""
from sbp_tad.models import (divided_attention, handlers,  # noqa: F401, rules of token-level SBP
                            pooling_attention)
from sbp_tad.models.anchor_free_head import AnchorFreeHead
from sbp_tad.models.data_preprocessor import TADDataPreprocessor
from sbp_tad.models.detector import TemporalDetector
from sbp_tad.models.fpn_neck import DaoTADNeck
from sbp_tad.models.frame_cnn import FrameCNN
from sbp_tad.models.gru_head import GRUHead
from sbp_tad.models.image_backbones import ConvNeXt, ImageViT
from sbp_tad.models.losses import AlignedDIoULoss, SigmoidFocalLoss
from sbp_tad.models.lstr_head import LSTRHead
from sbp_tad.models.online_detector import OnlineActionDetector
from sbp_tad.models.pyramid_neck import ActionFormerNeck
from sbp_tad.models.retina_head import RetinaHead1d
from sbp_tad.models.sbp_backbone import SBPBackbone
from sbp_tad.models.segmentation_head import SegmentationHead

__all__ = [
    'ActionFormerNeck', 'AlignedDIoULoss', 'AnchorFreeHead', 'ConvNeXt', 'DaoTADNeck',
    'FrameCNN', 'GRUHead', 'ImageViT', 'LSTRHead', 'OnlineActionDetector', 'RetinaHead1d',
    'SBPBackbone', 'SegmentationHead', 'SigmoidFocalLoss', 'TADDataPreprocessor',
    'TemporalDetector'
]
