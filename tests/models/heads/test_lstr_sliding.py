"""LSTR with windows that slide by one frame: equal to each window encoded anew."""
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from online_cases import build_head, draw_features
from reference.lstr import lstr_logits
from reference.sliding_windows import slide

from sbp_tad.models.errors import ModelError

WHOLE = dict(windows='sliding', history_from='oldest', has_ambiguous_class=True)


def encoded_anew(head, features):
    """Scores (n, 1 + classes) by the batched forward of the head, window after window."""
    def score_last(history, working):
        mask = torch.tensor([[frame is not None for frame in history]])
        frames = [frame or 0 for frame in history]
        return head.predict(features[:, :, frames], mask, features[:, :, working])[0, -1]

    return torch.stack(slide(score_last, head.num_frames, features.shape[2], head.memory_frames,
                             head.memory_stride, head.history_from))


def streamed(head, features):
    state, scores = head.init_state(), []
    for feature in features[0].T:
        one, state = head.step(state, feature)
        scores.append(one)
    return torch.stack(scores), state


@settings(max_examples=12)
@given(num_frames=st.integers(1, 5), memory_frames=st.integers(1, 4),
       memory_stride=st.integers(1, 4), length=st.integers(1, 30),
       history_from=st.sampled_from(['working', 'oldest']),
       empty=st.sampled_from(['first_frame', 'nothing']),
       origin=st.sampled_from(['history', 'working']), layers=st.sampled_from([(1, 2), (2, 1)]))
def test_a_stream_and_a_video_equal_windows_encoded_anew(
        num_frames, memory_frames, memory_stride, length, history_from, empty, origin, layers):
    head = build_head('lstr', windows='sliding', num_frames=num_frames,
                      memory_frames=memory_frames, memory_stride=memory_stride,
                      history_from=history_from, empty_history=empty, positions_from=origin,
                      num_encoder_layers=layers)
    features = draw_features(length)
    expected = encoded_anew(head, features)
    for found in (streamed(head, features)[0], head.score_video(features[0])):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


def test_the_scores_equal_the_slow_reference_of_the_network():
    """One key, one head and one frame after the other, without a tensor of the head."""
    head, features = build_head('lstr', **WHOLE), draw_features(9)
    weights = {name: value.detach() for name, value in head.state_dict().items()}

    def score_last(history, working):
        kept = [None if frame is None else features[0, :, frame] for frame in history]
        logits = lstr_logits(weights, 2, (1, 2), 2, kept,
                             [features[0, :, frame] for frame in working], head.memory_frames, True)
        return logits.softmax(dim=0)[:-1]

    expected = torch.stack(slide(score_last, head.num_frames, 9, head.memory_frames,
                                 head.memory_stride, 'oldest'))
    torch.testing.assert_close(head.score_video(features[0]), expected, rtol=0, atol=1e-5)


def test_manywindows_at_once_are_scored_in_parts(monkeypatch):
    head, features = build_head('lstr', **WHOLE), draw_features(20)
    expected = head.score_video(features[0])
    monkeypatch.setattr(type(head), 'windows_at_once', 3)
    torch.testing.assert_close(head.score_video(features[0]), expected, rtol=0, atol=1e-12)


def test_a_frame_is_encoded_once(monkeypatch):
    """The projections of history and window see each frame of a stream one time."""
    head, seen = build_head('lstr', **WHOLE), []
    for projection in (head.memory_projection, head.working_projection):
        projection.register_forward_hook(lambda module, args, out: seen.append(len(args[0])))
    streamed(head, draw_features(11))
    assert seen == [1] * 22


def test_the_state_of_a_stream_is_bounded():
    head = build_head('lstr', **WHOLE)
    _, state = streamed(head, draw_features(40))
    assert len(state.context) == head.limit == 3 * 2 + 4
    assert len(state.context.working) == head.num_frames


def test_tiles_differ_and_stay_the_default():
    features = draw_features(9)
    tiles, sliding = (build_head('lstr', **options).score_video(features[0])
                      for options in ({}, dict(windows='sliding')))
    assert torch.allclose(tiles[:4], sliding[:4]) and not torch.allclose(tiles[4:], sliding[4:])


def test_a_stream_in_training_mode_is_refused():
    head = build_head('lstr', **WHOLE).train()
    with pytest.raises(ModelError, match='call eval'):
        head.step(head.init_state(), draw_features(1)[0, :, 0])


def test_sliding_windows_without_a_history_are_refused():
    with pytest.raises(ModelError, match="windows='sliding' needs memory_frames of at least 1"):
        build_head('lstr', windows='sliding', memory_frames=0)
