"""Pictures of annotations, detections and training runs."""
from sbp_tad.visualization.errors import VisualizationError
from sbp_tad.visualization.timeline import ScoredSegments, draw_timeline

__all__ = ['ScoredSegments', 'VisualizationError', 'draw_timeline']
