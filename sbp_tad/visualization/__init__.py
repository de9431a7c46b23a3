"""Pictures of what was annotated and detected."""
from .timeline import ScoredSegments, TimelineError, draw_timeline

__all__ = ['ScoredSegments', 'TimelineError', 'draw_timeline']
