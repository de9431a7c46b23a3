"""Averages of the weights over training that begin with the first weights."""
from __future__ import annotations

from mmengine.hooks import EMAHook
from mmengine.runner import Runner

from sbp_tad.registry import HOOKS


@HOOKS.register_module()
class EMAFromStartHook(EMAHook):
    """Exponential moving average whose first value is the weights before training.

    mmengine's hook begins with the weights after the first step. The published
    codes of ActionFormer and OpenTAD begin one step earlier. Arguments as of
    :class:`mmengine.hooks.EMAHook`.
    """

    def before_train(self, runner: Runner) -> None:
        """Take the weights with which training begins; those of a resumed run go on."""
        super().before_train(runner)
        if self.ema_model.steps == 0:
            self.ema_model.module.load_state_dict(self.src_model.state_dict())
            self.ema_model.steps.fill_(1)
