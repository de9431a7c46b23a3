"""Child registries of scope ``sbp_tad``.

Their parents are mmaction's registries, so a type of mmaction needs no prefix
in a config of this project. ``sbp_tad.X`` resolves in any mmaction config,
because ``Registry.get`` of mmengine imports ``sbp_tad.registry``. Components
are imported when a registry is first searched.
"""
from sbp_tad import compat

compat.prepare_stack()  # raises for a missing package, and prepares the imports below

from mmaction import registry as mmaction  # noqa: E402
from mmengine.registry import Registry  # noqa: E402


def _child(name: str, *locations: str) -> Registry:
    """Return a child of mmaction's registry of that name.

    Without a location mmengine would search ``sbp_tad.utils`` and report that
    the package is not installed.
    """
    parent = getattr(mmaction, name)
    return Registry(parent.name, scope='sbp_tad', parent=parent,
                    locations=list(locations) or [__name__])


MODELS = _child('MODELS', 'sbp_tad.models')
# sbp_tad.datasets imports no module by itself; mmaction's decoders come first.
DATA_MODULES = ('mmaction.datasets', *(f'sbp_tad.datasets.{name}' for name in (
    'base', 'activitynet', 'egocentric', 'fineaction', 'multithumos', 'online', 'online_features',
    'thumos14', 'toy', 'transforms', 'augmentation', 'load_features', 'localizer_inputs',
    'readers.video_decoding')))
DATASETS = _child('DATASETS', *DATA_MODULES)
TRANSFORMS = _child('TRANSFORMS', *DATA_MODULES)
METRICS = _child('METRICS', 'sbp_tad.evaluation.metrics', 'sbp_tad.evaluation.online_metric')
HOOKS = _child('HOOKS', 'sbp_tad.engine')
OPTIM_WRAPPERS = _child('OPTIM_WRAPPERS', 'sbp_tad.engine')
WEIGHT_INITIALIZERS = _child('WEIGHT_INITIALIZERS', 'sbp_tad.engine.pretrained_init')
# The planner for keep_ratio='auto' of SBPBackbone.
TASK_UTILS = _child('TASK_UTILS', 'sbp_tad.planning.auto_keep_ratio')

# These are empty. Without them mmengine warns and searches its own registries
# instead of mmaction's.
RUNNERS = _child('RUNNERS')
RUNNER_CONSTRUCTORS = _child('RUNNER_CONSTRUCTORS')
LOOPS = _child('LOOPS')
DATA_SAMPLERS = _child('DATA_SAMPLERS')
MODEL_WRAPPERS = _child('MODEL_WRAPPERS')
OPTIMIZERS = _child('OPTIMIZERS')
OPTIM_WRAPPER_CONSTRUCTORS = _child('OPTIM_WRAPPER_CONSTRUCTORS')
PARAM_SCHEDULERS = _child('PARAM_SCHEDULERS')
EVALUATOR = _child('EVALUATOR')
VISUALIZERS = _child('VISUALIZERS', 'sbp_tad.visualization.visualizer')
VISBACKENDS = _child('VISBACKENDS')
LOG_PROCESSORS = _child('LOG_PROCESSORS')
INFERENCERS = _child('INFERENCERS', 'sbp_tad.apis.inference.inferencer')
FUNCTION = _child('FUNCTION')
