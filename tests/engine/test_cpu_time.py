"""CPU time of an iteration counts computing and not waiting."""
import time
from types import SimpleNamespace

from mmengine.logging import MessageHub

from sbp_tad.engine.cpu_time import CPUTimeHook


def test_computing_counts_and_waiting_does_not():
    runner = SimpleNamespace(message_hub=MessageHub('cpu_time'))
    hook = CPUTimeHook()
    hook.before_train_iter(runner, 0)
    time.sleep(0.2)
    hook.after_train_iter(runner, 0)
    hook.before_train_iter(runner, 1)
    end = time.process_time() + 0.05
    while time.process_time() < end:
        pass
    hook.after_train_iter(runner, 1)
    waited, computed = runner.message_hub.get_scalar('train/cpu_time').data[0]
    assert waited < 0.05 <= computed
