import pytest
import torch

from sbp_tad.models.errors import ModelError
from sbp_tad.models.heads.anchor_free_head import AnchorFreeHead
from sbp_tad.models.necks.actionformer_neck import BLOCKS, ActionFormerNeck
from sbp_tad.registry import MODELS

RANGES = ((0, 4), (4, 8), (8, 1000))


def head(**options):
    torch.manual_seed(0)
    settings = dict(num_classes=4, in_channels=8, strides=(1, 2, 4), regression_ranges=RANGES)
    return AnchorFreeHead(**{**settings, **options})


def pyramid(lengths, total=32, seed=0):
    """Random features of three levels and their masks."""
    generator = torch.Generator().manual_seed(seed)
    features = tuple(torch.randn(len(lengths), 8, total // s, generator=generator)
                     for s in (1, 2, 4))
    mask = torch.arange(total) < torch.tensor(lengths)[:, None]
    return features, tuple(mask[:, ::s] for s in (1, 2, 4))


ACTIONS = [torch.tensor([[3., 8.], [10., 26.]]), torch.tensor([[5., 7.]])]
LABELS = [torch.tensor([0, 3]), torch.tensor([1])]
NO_ACTIONS = [torch.empty(0, 2)] * 2, [torch.empty(0, dtype=torch.int64)] * 2


def test_every_class_starts_at_its_prior():
    model = head()
    features, masks = pyramid([32])
    logits, _ = model(tuple(torch.zeros_like(x) for x in features), masks)
    torch.testing.assert_close(logits[0].sigmoid(), torch.full((1, 32, 4), 0.01))


def test_distances_are_not_negative_and_have_one_scale_a_level():
    model = head()
    features, masks = pyramid([32])
    _, distances = model(features, masks)
    assert all((d >= 0).all() for d in distances)
    model.scales[1].scale.data.fill_(3.0)
    _, scaled = model(features, masks)
    assert torch.equal(scaled[0], distances[0])
    torch.testing.assert_close(scaled[1], 3 * distances[1])


@pytest.mark.parametrize('actions, labels', [(ACTIONS, LABELS), NO_ACTIONS])
def test_losses_are_finite_and_reach_every_parameter(actions, labels):
    model = head()
    losses = model.loss(*pyramid([32, 20]), actions, labels)
    assert set(losses) == {'loss_cls', 'loss_reg'}
    assert all(loss.isfinite() for loss in losses.values())
    sum(losses.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_a_batch_without_action_has_no_regression_loss():
    losses = head().loss(*pyramid([32, 20]), *NO_ACTIONS)
    assert losses['loss_reg'] == 0 and losses['loss_cls'] > 0


def test_a_batch_that_is_all_padding_has_no_loss():
    losses = head().loss(*pyramid([0, 0]), ACTIONS, LABELS)
    assert losses['loss_reg'] == 0 and losses['loss_cls'] == 0


def test_padding_has_no_loss_and_no_influence():
    features, masks = pyramid([32, 13])
    expected = head().loss(features, masks, ACTIONS, LABELS)
    spoilt = tuple(x.masked_fill(~mask[:, None], 1e4) for x, mask in zip(features, masks))
    losses = head().loss(spoilt, masks, ACTIONS, LABELS)
    assert losses == expected
    beyond = [ACTIONS[0], torch.tensor([[5., 7.], [20., 30.]])]  # in the padding of item 1
    losses = head().loss(features, masks, beyond, [LABELS[0], torch.tensor([1, 2])])
    assert losses == expected


def test_more_padding_changes_neither_loss_nor_predictions():
    features, masks = pyramid([32, 13])
    model = head(score_threshold=0.0).eval()
    longer = tuple(torch.nn.functional.pad(x, (0, x.shape[2])) for x in features)
    longer_masks = tuple(torch.nn.functional.pad(x, (0, x.shape[1])) for x in masks)
    expected = model.loss(features, masks, ACTIONS, LABELS)
    losses = model.loss(longer, longer_masks, ACTIONS, LABELS)
    torch.testing.assert_close(losses, expected)
    for got, want in zip(model.predict(longer, longer_masks), model.predict(features, masks)):
        torch.testing.assert_close(got.segments_grid, want.segments_grid, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(got.scores, want.scores)
        assert torch.equal(got.labels, want.labels)


def test_the_normalizer_is_a_running_mean_of_positives_that_only_training_moves():
    model, batch = head(), (*pyramid([32, 32]), ACTIONS, LABELS)
    assert model.state_dict()['normalizer'] == 100
    model.loss(*batch)
    moved = model.normalizer.item()
    positives = 10 * (moved - 90)
    assert positives == pytest.approx(round(positives), abs=1e-3) and 4 <= positives <= 30
    model.loss(*batch)
    assert model.normalizer.item() == pytest.approx(0.9 * moved + 0.1 * positives)
    moved = model.normalizer.item()
    model.eval().loss(*batch)
    assert model.normalizer.item() == moved


def test_losses_are_divided_by_the_normalizer():
    batch = (*pyramid([32, 20]), ACTIONS, LABELS)
    one, two = (head(normalizer_start=start).eval().loss(*batch) for start in (10.0, 20.0))
    for name in one:
        torch.testing.assert_close(one[name], 2 * two[name])


def test_two_forwards_before_a_backward_do_not_collide():
    model = head()
    first = model.loss(*pyramid([32, 32]), ACTIONS, LABELS)
    second = model.loss(*pyramid([32, 32], seed=1), ACTIONS, LABELS)
    (sum(first.values()) + sum(second.values())).backward()


def force(model, logits, distances):
    """Make every point of every level give these logits and distances."""
    for tower, bias in ((model.cls_tower, logits), (model.reg_tower, distances)):
        torch.nn.init.zeros_(tower.predictor.weight)
        tower.predictor.bias.data = torch.tensor(bias)
    return model.eval()


def test_predictions_are_decoded_in_level_0_grid_units():
    model = force(head(), [-20., 2., -20., -20.], [1.0, 0.5])
    features, masks = pyramid([5], total=8)
    prediction, = model.predict(features, masks)
    expected = [[g + 0.5 - 1, g + 0.5 + 0.5] for g in range(5)]
    expected += [[2 * g + 0.5 - 2, 2 * g + 0.5 + 1] for g in range(3)]
    expected += [[4 * g + 0.5 - 4, 4 * g + 0.5 + 2] for g in range(2)]
    assert prediction.segments_grid.tolist() == expected
    assert prediction.labels.tolist() == [1] * 10 and prediction.labels.dtype == torch.int64
    torch.testing.assert_close(prediction.scores, torch.full((10,), 2.0).sigmoid())


def test_a_point_may_predict_several_classes_and_levels_keep_their_best():
    model = force(head(max_per_level=3), [1., -20., 2., -20.], [1.0, 1.0])
    prediction, = model.predict(*pyramid([32]))
    assert len(prediction) == 9
    assert prediction.labels.tolist() == [2] * 9
    model.max_per_level = 40
    prediction, = model.predict(*pyramid([32]))
    assert prediction.labels.tolist()[:40] == [2] * 32 + [0] * 8


def test_scores_at_the_threshold_are_left_out():
    model = force(head(score_threshold=0.5), [0., 0., 0., 0.01], [1.0, 1.0])
    prediction, = model.predict(*pyramid([32]))
    assert set(prediction.labels.tolist()) == {3}
    model.score_threshold = 0.9
    prediction, = model.predict(*pyramid([32]))
    assert len(prediction) == 0 and prediction.segments_grid.shape == (0, 2)


def test_short_predictions_are_left_out_in_grid_units():
    """ActionFormer's ``duration_thresh`` of 0.05 is in steps of the feature grid."""
    model = force(head(score_threshold=0.5), [0., 0., 0., 0.01], [0.02, 0.02])
    short, = model.predict(*pyramid([32]))
    assert (short.segments_grid.diff(dim=1) > 0.05).all() and len(short) == 16 + 8
    model.min_duration_grid = 0.0
    assert len(model.predict(*pyramid([32]))[0]) == 32 + 16 + 8


def test_loss_and_predict_take_one_forward():
    model, calls = head(), []
    model.register_forward_hook(lambda *_: calls.append(1))
    model.loss(*pyramid([32, 20]), ACTIONS, LABELS)
    model.predict(*pyramid([32, 20]))
    assert len(calls) == 2


def test_predictions_that_are_not_finite_are_refused():
    model = force(head(), [0., float('nan'), 0., 0.], [1.0, 1.0])
    with pytest.raises(ModelError, match='the head gives NaN.*lower the learning rate'):
        model.predict(*pyramid([32]))


@pytest.mark.parametrize('options, message', [
    (dict(strides=(1, 2)), r'regression_ranges must have one range per stride .2., got 3'),
    (dict(regression_ranges=((0, 4), (8, 4), (8, 9))), r'shortest < longest, got \(8, 4\)'),
])
def test_settings_that_cannot_work_are_refused(options, message):
    with pytest.raises(ModelError, match=message):
        head(**options)


def test_a_neck_with_other_levels_is_refused():
    features, masks = pyramid([32])
    with pytest.raises(ModelError, match='strides .* name 3 levels, the neck gave 2'):
        head()(features[:2], masks[:2])


@pytest.mark.parametrize('block, amp', [
    pytest.param(block, amp, marks=(
        () if (block, amp) == ('attention', False) else pytest.mark.nightly))
    for block in BLOCKS for amp in (False, True)])
def test_a_tiny_detector_learns_one_batch_and_finds_its_actions(block, amp):
    torch.manual_seed(0)
    neck = ActionFormerNeck(8, 32, num_stem_blocks=1, num_levels=3, block=block)
    model = MODELS.build(dict(type='AnchorFreeHead', num_classes=4, in_channels=32,
                              strides=neck.strides, regression_ranges=RANGES,
                              loss_cls=dict(type='SigmoidFocalLoss'),
                              loss_reg=dict(type='AlignedDIoULoss'), normalizer_start=10.0))
    optimizer = torch.optim.AdamW([*neck.parameters(), *model.parameters()], 4e-3)
    features, mask = torch.randn(2, 8, 37), torch.arange(37) < torch.tensor([[37], [20]])
    for _ in range(60):
        with torch.autocast('cpu', torch.bfloat16, enabled=amp):
            losses = model.loss(*neck(features, mask), ACTIONS, LABELS)
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    with torch.autocast('cpu', torch.bfloat16, enabled=amp):
        predictions = model.eval().predict(*neck.eval()(features, mask))
    for prediction, segments, labels in zip(predictions, ACTIONS, LABELS):
        assert prediction.scores.dtype == prediction.segments_grid.dtype == torch.float32
        for segment, label in zip(segments, labels):
            of_class = prediction[prediction.labels == label]
            best = of_class[int(of_class.scores.argmax())]
            assert best.scores > 0.5
            assert (best.segments_grid - segment).abs().max() < 1.5
