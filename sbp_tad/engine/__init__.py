"""Hooks and optimizer wrappers for mmengine's training; an import registers them."""
from sbp_tad.engine.atomic_checkpoints import AtomicCheckpointHook
from sbp_tad.engine.averaged_weights import EMAFromStartHook
from sbp_tad.engine.bad_items import BadItemsHook
from sbp_tad.engine.cpu_amp import CpuAmpOptimWrapper
from sbp_tad.engine.cpu_time import CPUTimeHook
from sbp_tad.engine.detection_visualization import DetectionVisualizationHook
from sbp_tad.engine.exact_resume import ExactResumeHook
from sbp_tad.engine.finite_numbers import FiniteNumbersHook
from sbp_tad.engine.keep_ratio import KeepRatioSchedule
from sbp_tad.engine.provenance_hook import ProvenanceHook
from sbp_tad.engine.resume_check import ResumeCheckHook
from sbp_tad.engine.saved_memory import SavedMemoryHook
from sbp_tad.engine.start_checks import StartChecksHook
from sbp_tad.engine.training_state import TrainingStateHook

__all__ = ['AtomicCheckpointHook', 'BadItemsHook', 'CpuAmpOptimWrapper', 'CPUTimeHook',
           'DetectionVisualizationHook', 'EMAFromStartHook', 'ExactResumeHook',
           'FiniteNumbersHook', 'KeepRatioSchedule', 'ProvenanceHook', 'ResumeCheckHook',
           'SavedMemoryHook', 'StartChecksHook', 'TrainingStateHook']
