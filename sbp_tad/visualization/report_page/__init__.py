"""A page that shows videos, ground truth and predictions in a browser, from disk."""
from sbp_tad.visualization.errors import VisualizationError

from .content import report_content
from .page import link_videos, write_page

__all__ = ['VisualizationError', 'link_videos', 'report_content', 'write_page']
