"""Pictures of what was annotated and detected."""
from sbp_tad.visualization.errors import VisualizationError

from .timeline import ScoredSegments, draw_timeline

__all__ = ['ScoredSegments', 'VisualizationError', 'draw_timeline']
