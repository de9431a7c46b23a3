"""Components of the model side; importing this registers them."""
from sbp_tad.models.backbones.frame_cnn import FrameCNN
from sbp_tad.models.backbones.image_backbones import ConvNeXt, ImageViT
from sbp_tad.models.backbones.sbp_backbone import SBPBackbone
from sbp_tad.models.data_preprocessor import TADDataPreprocessor
from sbp_tad.models.detectors.online_detector import OnlineActionDetector
from sbp_tad.models.detectors.temporal_detector import TemporalDetector
from sbp_tad.models.heads.anchor_free_head import AnchorFreeHead
from sbp_tad.models.heads.gru_head import GRUHead
from sbp_tad.models.heads.lstr_head import LSTRHead
from sbp_tad.models.heads.retina_head import RetinaHead1d
from sbp_tad.models.heads.segmentation_head import SegmentationHead
from sbp_tad.models.losses import AlignedDIoULoss, SigmoidFocalLoss
from sbp_tad.models.necks.actionformer_neck import ActionFormerNeck
from sbp_tad.models.necks.daotad_neck import DaoTADNeck
from sbp_tad.models.token_forms import mvit, swin, timesformer, uniformer, videomae  # noqa: F401

__all__ = [
    'ActionFormerNeck', 'AlignedDIoULoss', 'AnchorFreeHead', 'ConvNeXt', 'DaoTADNeck',
    'FrameCNN', 'GRUHead', 'ImageViT', 'LSTRHead', 'OnlineActionDetector', 'RetinaHead1d',
    'SBPBackbone', 'SegmentationHead', 'SigmoidFocalLoss', 'TADDataPreprocessor',
    'TemporalDetector'
]
