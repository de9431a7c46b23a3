"""A page that shows videos, ground truth and predictions in a browser, from disk."""
from .content import report_content
from .page import ReportError, link_videos, write_page

__all__ = ['ReportError', 'link_videos', 'report_content', 'write_page']
