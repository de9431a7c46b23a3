"""A checkpoint and a run are compared before anything is restored."""
import pytest

from sbp_tad.datasets.errors import ResumeError
from sbp_tad.engine.resume_check import (
    changed_facts,
    changed_seed,
    check_state,
    nothing_left,
    refusal,
)
from sbp_tad.engine.training_settings import Change

WHOLE = dict(meta={}, message_hub={}, optimizer={}, param_schedulers=[], state_dict={})


def test_a_whole_checkpoint_passes():
    check_state(WHOLE, 'epoch_1.pth', has_schedulers=True)
    without = {name: value for name, value in WHOLE.items() if name != 'param_schedulers'}
    check_state(without, 'epoch_1.pth', has_schedulers=False)


@pytest.mark.parametrize('missing', ['meta', 'message_hub', 'optimizer', 'param_schedulers'])
def test_a_checkpoint_without_a_part_is_refused(missing):
    part = {name: value for name, value in WHOLE.items() if name != missing}
    with pytest.raises(ResumeError, match=f'best_1.pth cannot be resumed from: it lacks {missing}'):
        check_state(part, 'best_1.pth', has_schedulers=True)


def test_a_training_at_its_end_says_so():
    meta = dict(epoch=4, iter=40)
    for train_cfg, told in ((dict(max_epochs=3), 'written after epoch 4, and train_cfg.max_epochs '
                             'is 3. Set train_cfg.max_epochs above 4'),
                            (dict(max_epochs=4), 'Nothing is left to train: epoch_4.pth'),
                            (dict(max_iters=40), 'train_cfg.max_iters is 40')):
        assert told in nothing_left('epoch_4.pth', meta, train_cfg)
    for train_cfg in (dict(max_epochs=5), dict(max_iters=41), {}):
        assert nothing_left('epoch_4.pth', meta, train_cfg) is None


def test_facts_are_compared():
    facts = {'number of processes': 2, 'number of training items': 6}
    assert changed_facts({}, facts) == []  # a checkpoint of an earlier version
    assert changed_facts(facts, facts) == []
    change, = changed_facts(facts, {**facts, 'number of processes': 1})
    assert str(change) == 'number of processes: 2 in the checkpoint, 1 now'


def test_a_seed_that_nobody_chose_is_that_of_the_checkpoint():
    assert changed_seed(7, dict(randomness=dict(seed=None))) == changed_seed(7, {}) == []
    assert changed_seed(7, dict(randomness=dict(seed=7))) == []
    change, = changed_seed(7, dict(randomness=dict(seed=0)))
    assert str(change) == 'randomness.seed: 7 in the checkpoint, 0 now'


def test_many_changes_are_counted():
    text = refusal('a.pth', [Change(f'key{number}', 0, 1) for number in range(9)])
    assert 'key5: 0 in the checkpoint, 1 now' in text and 'key6' not in text
    assert 'and 3 more' in text and '--cfg-options load_from=a.pth' in text
