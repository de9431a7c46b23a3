import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.grouping import classes_of_steps, group

from sbp_tad.models.errors import ModelError
from sbp_tad.models.heads.segmentation_head import SegmentationHead, group_steps, label_steps
from sbp_tad.registry import MODELS

ACTIONS = [torch.tensor([[3., 8.], [10., 26.]]), torch.tensor([[5., 7.]])]
LABELS = [torch.tensor([0, 3]), torch.tensor([1])]
NO_ACTIONS = [torch.empty(0, 2)] * 2, [torch.empty(0, dtype=torch.int64)] * 2


def head(**options):
    torch.manual_seed(0)
    return MODELS.build(dict(type='SegmentationHead', num_classes=4, in_channels=8, **options))


def level(lengths, total=32):
    """One level of random features and its mask."""
    generator = torch.Generator().manual_seed(0)
    mask = torch.arange(total) < torch.tensor(lengths)[:, None]
    return (torch.randn(len(lengths), 8, total, generator=generator), ), (mask, )


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_grouping_equals_the_reference(data):
    num_classes = data.draw(st.integers(1, 3))
    value = st.sampled_from([0.0, 0.1, 0.2, 0.3, 0.55, 0.7, 0.95])  # some equal a threshold
    scores = data.draw(st.lists(st.lists(value, min_size=num_classes, max_size=num_classes),
                                min_size=1, max_size=12))
    found = group_steps(torch.tensor(scores, dtype=torch.float64), thresholds := (0.1, 0.3, 0.6))
    expected = group(scores, thresholds)
    keys = [(int(label), *map(int, segment))
            for label, segment in zip(found.labels, found.segments_grid)]
    assert keys == sorted(expected)
    assert found.scores.tolist() == pytest.approx([expected[key] for key in keys])


def test_runs_of_several_thresholds_count_once():
    scores = torch.tensor([[.0], [.4], [.8], [.8], [.4], [.0], [.9]])
    found = group_steps(scores, (0.2, 0.3, 0.5))
    assert found.segments_grid.tolist() == [[1, 5], [2, 4], [6, 7]]
    torch.testing.assert_close(found.scores, torch.tensor([.6, .8, .9]))
    assert len(group_steps(scores * 0, (0.2, ))) == 0


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 15), st.integers(1, 20), st.integers(0, 2)), max_size=4))
def test_step_labels_equal_the_reference(actions):
    segments = [(start / 2, (start + length) / 2) for start, length, _ in actions]
    labels = [label for *_, label in actions]
    targets = label_steps(torch.tensor(segments).reshape(-1, 2),
                          torch.tensor(labels, dtype=torch.int64), 8, 3)
    found = [{label for label in range(3) if row[label]} for row in targets]
    assert found == classes_of_steps(segments, labels, 8)
    assert set(targets.unique().tolist()) <= {0.0, 1.0}


def test_every_class_starts_at_its_prior():
    features, masks = level([32])
    logits = head()([torch.zeros_like(features[0])], masks)
    torch.testing.assert_close(logits.sigmoid(), torch.full((1, 32, 4), 0.01))


@pytest.mark.parametrize('lengths', [[32, 20], [0, 0]])
@pytest.mark.parametrize('actions, labels', [(ACTIONS, LABELS), NO_ACTIONS])
def test_an_empty_window_trains_without_nan(lengths, actions, labels):
    model = head()
    losses = model.loss(*level(lengths), actions, labels)
    assert set(losses) == {'loss_cls'} and losses['loss_cls'].isfinite()
    assert (losses['loss_cls'] == 0) == (lengths == [0, 0])
    losses['loss_cls'].backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_padding_has_no_loss_no_influence_and_no_segment():
    features, masks = level([32, 13])
    expected = head().loss(features, masks, ACTIONS, LABELS)
    spoilt = (features[0].masked_fill(~masks[0][:, None], 1e4), )
    assert head().loss(spoilt, masks, ACTIONS, LABELS) == expected
    model = head(class_prior=0.5).eval()
    _, padded = model.predict(spoilt, masks)
    assert len(padded) and padded.segments_grid.max() <= 13


def test_the_loss_is_the_losses_sum_per_positive_step():
    model, (features, masks) = head(), level([32, 32])
    logits = model(features, masks)
    targets = torch.stack([label_steps(*item, 32, 4) for item in zip(ACTIONS, LABELS)])
    assert targets.sum() == 5 + 16 + 2
    expected = model.loss_cls(logits, targets) / 23
    torch.testing.assert_close(model.loss(features, masks, ACTIONS, LABELS)['loss_cls'], expected)


def test_the_best_segments_come_first_and_others_are_left_out():
    features, masks = level([32])
    every, = head(class_prior=0.5).eval().predict(features, masks)
    assert (every.scores.diff() <= 0).all() and every.labels.dtype == torch.int64
    best, = head(class_prior=0.5, max_segments=3).eval().predict(features, masks)
    assert len(every) > 3 and torch.equal(best.segments_grid, every.segments_grid[:3])


def test_predictions_that_are_not_finite_are_refused():
    model = head()
    model.tower.predictor.bias.data[0] = float('nan')
    with pytest.raises(ModelError, match='the head gives NaN.*lower the learning rate'):
        model.predict(*level([32]))


@pytest.mark.parametrize('thresholds', [(), (0.5, 1.0), (0.0, )])
def test_thresholds_that_cannot_work_are_refused(thresholds):
    with pytest.raises(ModelError, match=r'at least one number, all in \(0, 1\), got \['):
        head(thresholds=thresholds)


def test_a_pyramid_is_refused():
    features, masks = level([32])
    with pytest.raises(ModelError, match='a single level, got 2: leave the neck out'):
        head()(features * 2, masks * 2)


@pytest.mark.parametrize('amp', [False, True])
def test_it_learns_one_batch_and_finds_its_actions(amp):
    model, (features, masks) = head(), level([32, 20])
    assert isinstance(model, SegmentationHead)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    for _ in range(80):
        with torch.autocast('cpu', torch.bfloat16, enabled=amp):
            loss = model.loss(features, masks, ACTIONS, LABELS)['loss_cls']
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.autocast('cpu', torch.bfloat16, enabled=amp):
        predictions = model.eval().predict(features, masks)
    for prediction, segments, labels in zip(predictions, ACTIONS, LABELS):
        assert prediction.scores.dtype == prediction.segments_grid.dtype == torch.float32
        found = {(int(label), *segment.tolist()) for label, segment, score in zip(
            prediction.labels, prediction.segments_grid, prediction.scores) if score > 0.5}
        assert {(int(label), *segment.tolist()) for segment, label in zip(segments, labels)} \
            <= found
