"""Report page that shows videos, ground truth and predictions in a browser, from disk."""
from sbp_tad.visualization.errors import VisualizationError
from sbp_tad.visualization.report_page.content import report_content
from sbp_tad.visualization.report_page.page import link_videos, write_page

__all__ = ['VisualizationError', 'link_videos', 'report_content', 'write_page']
