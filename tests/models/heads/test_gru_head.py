import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from online_cases import build_head, draw_features
from reference.gru import gru_logits


@pytest.mark.parametrize('case, num_layers', [('gru', 1), ('gru_2_layers', 2)])
@settings(deadline=None, max_examples=20)
@given(real=st.lists(st.booleans(), max_size=5), num_frames=st.integers(1, 4))
def test_logits_equal_the_reference(case, num_layers, real, num_frames):
    """Any frames of the history may be missing."""
    head = build_head(case)
    history, working = draw_features(len(real)), draw_features(num_frames, seed=1)
    found = head(history, torch.tensor([real], dtype=torch.bool), working)[0]
    weights = {name: value.detach() for name, value in head.state_dict().items()}
    kept = [feature if there else None for feature, there in zip(history[0].T, real)]
    for i, row in enumerate(found):
        expected = gru_logits(weights, num_layers, kept, list(working[0].T[:i + 1]))
        torch.testing.assert_close(row, expected)


def test_dropout_acts_in_training_alone():
    head, working = build_head('gru_2_layers', dropout=0.5), draw_features(4)
    history, mask = draw_features(3), torch.ones(1, 3, dtype=torch.bool)
    assert torch.equal(head(history, mask, working), head(history, mask, working))
    head.train()
    assert not torch.equal(head(history, mask, working), head(history, mask, working))
