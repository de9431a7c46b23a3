"""Every head of online detection: causal, equal in a stream, unmoved by missing frames."""
import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from online_cases import CHANNELS, CLASSES, HEADS, build_head, draw_features, score_video

from sbp_tad.models.errors import ModelError
from sbp_tad.models.heads.online_head import to_scores

every_head = pytest.mark.parametrize('case', sorted(HEADS))
few = settings(deadline=None, max_examples=25)


@every_head
@few
@given(changed=st.integers(0, 17))
def test_changing_a_frame_changes_no_earlier_score(case, changed):
    """The frame may lie in a window or, for later windows, in the history."""
    head, features = build_head(case), draw_features(18)
    before = score_video(head, features)
    features[:, :, changed] += 1
    after = score_video(head, features)
    assert torch.equal(before[:changed], after[:changed])
    assert not torch.equal(before[changed], after[changed])


@every_head
def test_memory_matters_to_every_frame(case):
    head, features = build_head(case), draw_features(4)
    history, mask = draw_features(3, seed=1), torch.ones(1, 3, dtype=torch.bool)
    moved = head(history + 1, mask, features) - head(history, mask, features)
    assert (moved.abs().amax(dim=2) > 1e-9).all()


@every_head
@few
@given(num_frames=st.integers(1, 5), memory_frames=st.integers(0, 4),
       memory_stride=st.integers(1, 6), length=st.integers(1, 24),
       history_from=st.sampled_from(['working', 'oldest']))
def test_a_stream_gives_the_offline_scores(case, num_frames, memory_frames, memory_stride, length,
                                           history_from):
    head = build_head(case, num_frames=num_frames, memory_frames=memory_frames,
                      memory_stride=memory_stride, history_from=history_from)
    features, state, scores = draw_features(length), head.init_state(), []
    for feature in features[0].T:
        one, state = head.step(state, feature)
        scores.append(one)
    expected = score_video(head, features)
    for found in (torch.stack(scores), head.score_video(features[0])):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def bytes_of(tree):
    """Count the bytes of all tensors in a state."""
    if isinstance(tree, torch.Tensor):
        return tree.numel() * tree.element_size()
    items = tree if isinstance(tree, (list, tuple)) else getattr(tree, '__dict__', {}).values()
    return sum(map(bytes_of, items))


@every_head
def test_a_stream_holds_a_bounded_state(case):
    head, held = build_head(case), []
    state = head.init_state()
    for feature in draw_features(64)[0].T:
        _, state = head.step(state, feature)
        held.append(bytes_of(state))
    assert max(held[:16]) == max(held[48:]) > 0
    assert len(state.kept_features) <= head.memory_frames * head.memory_stride


@every_head
def test_a_step_leaves_the_state_before_as_it_was(case):
    """A stream can then continue from an earlier state."""
    head, features = build_head(case), draw_features(6)[0].T
    state = head.init_state()
    for feature in features[:5]:
        _, state = head.step(state, feature)
    first, _ = head.step(state, features[5])
    again, _ = head.step(state, features[5])
    assert torch.equal(first, again)


@every_head
@few
@given(missing=st.integers(0, 4))
def test_missing_memory_is_as_if_it_were_not_there(case, missing):
    """Values of missing frames, also NaN, change no score and no gradient."""
    head, working = build_head(case), draw_features(4, seed=1)
    history, mask = draw_features(4), torch.arange(4)[None] >= missing
    expected = head(history[:, :, missing:], mask[:, missing:], working)
    history[:, :, :missing] = float('nan')
    found = head(history, mask, working)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
    found.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())


@every_head
def test_items_of_a_batch_do_not_meet(case):
    head, working, history = build_head(case), draw_features(4, 3), draw_features(3, 3, seed=1)
    mask = torch.tensor([[True] * 3, [False, False, True], [False] * 3])
    together = head(history, mask, working)
    alone = [head(history[i:i + 1], mask[i:i + 1], working[i:i + 1]) for i in range(3)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-9, atol=1e-12)


def batch_of(dtype=torch.float32):
    """Arguments of a loss for two windows, one without any history."""
    targets = torch.eye(1 + CLASSES)[torch.randint(1 + CLASSES, (2, 4))]
    mask = torch.tensor([[False, True, True], [False] * 3])
    return (draw_features(3, 2).to(dtype), mask, draw_features(4, 2, seed=1).to(dtype), targets,
            torch.ones(2, 4, dtype=torch.bool))


@every_head
def test_a_head_learns_a_window(case):
    head, batch = build_head(case).float().train(), batch_of()
    optimizer = torch.optim.Adam(head.parameters(), lr=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        loss = head.loss(*batch)['loss_cls']
        loss.backward()
        optimizer.step()
    assert loss < 0.2 * math.log(1 + CLASSES)
    scores = head.eval().predict(*batch[:3])
    assert torch.equal(scores.argmax(dim=2), batch[3].argmax(dim=2))
    torch.testing.assert_close(scores.sum(dim=2), torch.ones(2, 4))


@every_head
def test_a_batch_of_which_nothing_counts_trains(case):
    head, batch = build_head(case).float().train(), batch_of()
    loss = head.loss(*batch[:4], torch.zeros(2, 4, dtype=torch.bool))['loss_cls']
    loss.backward()
    assert loss == 0 and all((p.grad == 0).all() for p in head.parameters())


@every_head
def test_bfloat16_autocast_trains_and_streams(case):
    head, batch = build_head(case).float().train(), batch_of()
    plain = head.loss(*batch)['loss_cls']
    with torch.autocast('cpu', torch.bfloat16):
        loss = head.loss(*batch)['loss_cls']
        loss.backward()
        scores, _ = head.eval().step(head.init_state(), torch.randn(CHANNELS))
    assert loss.dtype == scores.dtype == torch.float32
    torch.testing.assert_close(loss, plain, rtol=0.05, atol=0.01)
    assert all(p.grad.isfinite().all() for p in head.parameters())


@every_head
def test_state_dict_gives_the_same_scores(case):
    head, other, features = build_head(case), build_head(case), draw_features(9)
    torch.nn.init.normal_(other.classifier.weight)
    assert not torch.equal(score_video(head, features), score_video(other, features))
    other.load_state_dict(head.state_dict())
    for twin in (other, copy.deepcopy(head)):
        assert torch.equal(score_video(head, features), score_video(twin, features))


def test_steps_refuse_training_mode_and_other_shapes():
    head = build_head('gru')
    with pytest.raises(ModelError, match=r'one frame, \(6,\), got \(1, 6\)'):
        head.step(head.init_state(), torch.zeros(1, CHANNELS))
    with pytest.raises(ModelError, match=r'evaluation mode.*call eval\(\) first'):
        head.train().step(head.init_state(), torch.zeros(CHANNELS))


def test_shapes_that_do_not_fit():
    head, (history, mask, working, targets, valid) = build_head('gru'), batch_of(torch.float64)
    with pytest.raises(ModelError, match=r'\(B, in_channels=6, T\), got \(2, 4, 3\)'):
        head(history[:, :4], mask, working)
    with pytest.raises(ModelError, match=r'\(B, in_channels=6, T\), got \(2, 4, 4\)'):
        head(history, mask, working[:, :4])
    with pytest.raises(ModelError, match=r'masks of features \(2, 6, 3\) must have'):
        head(history, mask[:, 1:], working)
    with pytest.raises(ModelError, match=r'shape \(2, 4, 4\).*num_classes=3.*\(2, 4, 3\)'):
        head.loss(history, mask, working, targets[..., 1:], valid)


@pytest.mark.parametrize('options, came', [
    (dict(num_frames=0), '0, 2 and 3'), (dict(memory_frames=-1), '4, 2 and -1'),
    (dict(memory_stride=0), '4, 0 and 3')])
def test_lengths_that_are_none(options, came):
    with pytest.raises(ModelError, match=f'memory_frames of at least 0.*got {came}'):
        build_head('gru', **options)


def test_scores_of_broken_weights_are_refused():
    with pytest.raises(ModelError, match='the head gives NaN'):
        to_scores(torch.full((1, 2), float('nan')))
