"""Anchor-based head: anchors, losses, predictions; its parts are tested separately."""
import pytest
import torch

from sbp_tad.models.errors import ModelError
from sbp_tad.models.heads.retina_head import DAOTAD_SCALES, RetinaHead1d
from sbp_tad.models.layers.masked_layers import NORMS
from sbp_tad.models.losses import sigmoid_focal_loss
from sbp_tad.models.necks.daotad_neck import DaoTADNeck
from sbp_tad.models.task_modules.prior_generators import pyramid_anchors
from sbp_tad.registry import MODELS

STRIDES = (1, 2, 4)
ACTIONS = [torch.tensor([[3., 8.], [10., 26.]]), torch.tensor([[5., 7.]])]
LABELS = [torch.tensor([0, 3]), torch.tensor([1])]
NO_ACTIONS = [torch.empty(0, 2)] * 2, [torch.empty(0, dtype=torch.int64)] * 2


def head(**options):
    torch.manual_seed(0)
    settings = dict(num_classes=4, in_channels=8, num_convs=1, strides=STRIDES)
    return RetinaHead1d(**{**settings, **options})


def pyramid(lengths, total=32, seed=0):
    """Random features of three levels and their masks."""
    generator = torch.Generator().manual_seed(seed)
    features = tuple(torch.randn(len(lengths), 8, total // s, generator=generator)
                     for s in STRIDES)
    mask = torch.arange(total) < torch.tensor(lengths)[:, None]
    return features, tuple(mask[:, ::s] for s in STRIDES)


def test_the_anchors_are_those_of_daotad():
    """768 frames with a level-0 step of 8 frames have 930 anchors of 16 to 446 frames."""
    lengths, strides = (96, 48, 24, 12, 6), (1, 2, 4, 8, 16)
    anchors = 8 * pyramid_anchors(lengths, strides, DAOTAD_SCALES, 0.0)
    assert len(anchors) == 930
    sizes = anchors[:, 1] - anchors[:, 0]
    assert round(sizes.min().item()) == 16 and round(sizes.max().item()) == 446
    settings = RetinaHead1d(num_classes=20, in_channels=256)
    assert settings.strides == strides and len(settings.cls_tower.convs) == 4
    assert settings.cls_tower.predictor.out_channels == 100


def test_every_class_starts_at_its_prior_and_every_segment_at_its_anchor():
    model = head(score_threshold=0.0).eval()
    features, masks = pyramid([32])
    logits, offsets = model(tuple(torch.zeros_like(x) for x in features), masks)
    torch.testing.assert_close(logits[0].sigmoid(), torch.full((1, 160, 4), 0.01))
    assert not offsets[0].any()
    anchors = pyramid_anchors([32, 16, 8], STRIDES, DAOTAD_SCALES, 0.0)
    torch.testing.assert_close(model.decode([32, 16, 8], torch.cat(offsets, dim=1))[0], anchors)


def test_places_come_step_by_step_as_the_anchors_do():
    model = head(anchor_scales=(1.0, 2.0), num_classes=1)
    torch.nn.init.zeros_(model.reg_tower.predictor.weight)
    model.reg_tower.predictor.bias.data = torch.tensor([0.1, 0.2, 0.3, 0.4])
    _, offsets = model(*pyramid([32]))
    torch.testing.assert_close(offsets[2][0, :4], torch.tensor([[0.1, 0.2], [0.3, 0.4]] * 2))


@pytest.mark.parametrize('norm', NORMS)
@pytest.mark.parametrize('actions, labels', [(ACTIONS, LABELS), NO_ACTIONS])
def test_losses_are_finite_and_reach_every_parameter(actions, labels, norm):
    model = head(norm=norm)
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


def test_the_losses_are_sums_over_counted_anchors_by_the_number_of_positives():
    model = head().eval()
    features, masks = pyramid([32])
    losses = model.loss(features, masks, ACTIONS[:1], LABELS[:1])
    logits, offsets = (torch.cat(part, dim=1)[0] for part in model(features, masks))
    real = torch.ones(len(logits)).bool()
    classes, segments, counted = model.assign([32, 16, 8], real, ACTIONS[0], LABELS[0])
    positive = classes.any(dim=1)
    assert 2 <= positive.sum() < counted.sum() < len(real)
    expected = sigmoid_focal_loss(logits[counted], classes[counted]).sum() / positive.sum()
    torch.testing.assert_close(losses['loss_cls'], expected)
    found = model.decode([32, 16, 8], offsets[None])[0, positive]
    expected = model.loss_reg(found, segments[positive]) / positive.sum()
    torch.testing.assert_close(losses['loss_reg'], expected)


@pytest.mark.parametrize('norm', NORMS)
def test_padding_has_no_loss_and_no_influence(norm):
    features, masks = pyramid([32, 13])
    expected = head(norm=norm).loss(features, masks, ACTIONS, LABELS)
    spoilt = tuple(x.masked_fill(~mask[:, None], float('nan'))
                   for x, mask in zip(features, masks))
    assert head(norm=norm).loss(spoilt, masks, ACTIONS, LABELS) == expected
    model = head(norm=norm, score_threshold=0.0).eval()
    clean, dirty = (model.predict(x, masks)[1] for x in (features, spoilt))
    assert torch.equal(clean.segments_grid, dirty.segments_grid)
    assert len(clean) == 4 * 5 * (13 + 7 + 4)


def test_predictions_above_the_threshold_and_the_best_of_each_level_are_kept():
    model = head().eval()
    torch.nn.init.zeros_(model.cls_tower.predictor.weight)
    model.cls_tower.predictor.bias.data = torch.tensor([-9., 2., -9., -9.] + 4 * [-9., 0., 1., -9.])
    everything, = model.predict(*pyramid([32]))
    assert everything.labels.tolist()[:32] == [1] * 32  # the shortest anchor of each step
    assert len(everything) == 56 * 9
    assert everything.scores[0] == torch.tensor(2.0).sigmoid()
    model.max_per_level = 3
    few, = model.predict(*pyramid([32]))
    assert few.labels.tolist() == [1] * 9 and few.segments_grid.shape == (9, 2)
    model.score_threshold = 0.9
    assert len(model.predict(*pyramid([32]))[0]) == 0


@pytest.mark.parametrize('options, message', [
    (dict(anchor_scales=()), r'anchor_scales must hold at least one .* positive, got \(\)'),
    (dict(anchor_scales=(1, 0)), r'got \(1, 0\)'),
    (dict(positive_iou=0.3), 'negative_iou <= positive_iou <= 1, got 0.4 and 0.3'),
    (dict(norm='GN'), "unknown norm 'GN'"),
])
def test_settings_that_cannot_work_are_refused(options, message):
    with pytest.raises(ModelError, match=message):
        head(**options)


def test_a_neck_with_other_levels_is_refused():
    features, masks = pyramid([32])
    with pytest.raises(ModelError, match='strides .* name 3 levels, the neck gave 2'):
        head()(features[:2], masks[:2])


@pytest.mark.parametrize('amp', [False, pytest.param(True, marks=pytest.mark.nightly)])
def test_a_tiny_detector_learns_one_batch_and_finds_its_actions(amp):
    torch.manual_seed(0)
    neck = DaoTADNeck(8, 32, downsample_channels=32, num_levels=3)
    model = MODELS.build(dict(type='RetinaHead1d', num_classes=4, in_channels=32, num_convs=1,
                              strides=STRIDES))
    optimizer = torch.optim.SGD([*neck.parameters(), *model.parameters()], 0.05, momentum=0.9)
    features, mask = torch.randn(2, 8, 37), torch.arange(37) < torch.tensor([[37], [20]])
    for _ in range(150):
        with torch.autocast('cpu', torch.bfloat16, enabled=amp):
            losses = model.loss(*neck(features, mask), ACTIONS, LABELS)
        optimizer.zero_grad()
        sum(losses.values()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    with torch.autocast('cpu', torch.bfloat16, enabled=amp):
        predictions = model.predict(*neck(features, mask))  # with the statistics of the batch
    for prediction, segments, labels in zip(predictions, ACTIONS, LABELS):
        assert prediction.scores.dtype == prediction.segments_grid.dtype == torch.float32
        for segment, label in zip(segments, labels):
            of_class = prediction[prediction.labels == label]
            best = of_class[int(of_class.scores.argmax())]
            assert best.scores > 0.5
            assert (best.segments_grid - segment).abs().max() < 1.5
