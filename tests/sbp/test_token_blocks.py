"""Token-level SBP on the blocks of torch: one table of cases, every invariant on each."""
import pytest
import torch
from families import rest_nightly
from reference.masked_tokens import masked
from token_cases import (
    INVARIANTS,
    Case,
    assert_same,
    check_autocast,
    check_reference,
    gradients,
    record_masks,
    reference_gradients,
    subclass,
)
from token_settings import SETTINGS, check_compile, turn_off_dropout
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from sbp_tad.sbp import (
    SavedMemory,
    SBPConfig,
    SBPError,
    TokenSBPConfig,
    apply_sbp,
    remove_sbp,
)


def encoder(**options):
    """Two encoder layers whose attention has no dropout of its own."""
    options = dict(d_model=8, nhead=2, dim_feedforward=32, dropout=0.1, batch_first=True) | options
    layers = [nn.TransformerEncoderLayer(**options) for _ in range(2)]
    for layer in layers:
        layer.self_attn.dropout = 0.0
    return nn.Sequential(*layers)


def attention_with_dropout():
    return nn.TransformerEncoderLayer(8, 2, 32, dropout=0.1, batch_first=True)


class PointwiseMLP(nn.Module):
    """The pointwise part of a ConvNeXt block, on a grid of tokens."""

    def __init__(self):
        super().__init__()
        self.mlp = nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 32), nn.GELU(), nn.Dropout(0.1),
                                 nn.Linear(32, 8, bias=False), nn.Dropout(0.1))

    def forward(self, x):
        return x + self.mlp(x)


def ends(layer):
    return [layer.dropout1, layer.dropout2]


LAYER = nn.TransformerEncoderLayer
CASES = {
    'pre-norm': Case(lambda: encoder(norm_first=True), (2, 21, 8), LAYER, ends),
    'post-norm': Case(encoder, (2, 21, 8), LAYER, ends),
    'sequence-first': Case(lambda: encoder(batch_first=False), (21, 2, 8), LAYER, ends,
                           order=lambda mask: mask.transpose(0, 1)),
    'no-bias': Case(lambda: encoder(bias=False, norm_first=True), (3, 10, 8), LAYER, ends),
    'attention-dropout': Case(attention_with_dropout, (2, 21, 8), LAYER, ends, most_saved=0.8),
    'pointwise': Case(PointwiseMLP, (2, 2, 4, 3, 8), nn.Sequential, None, dropped=False),
}
every_case = pytest.mark.parametrize('case', CASES)


OPTIONS = [dict(mask='grid'), dict(mask='random'), dict(mask='tube'), dict(rescale=False),
           dict(shortcut='dropped')]


@pytest.mark.parametrize('case, options', [
    pytest.param(name, options, id=f'{name}-{options}') for name, case in CASES.items()
    for options in OPTIONS if case.dropped or 'shortcut' not in options])
def test_gradients_equal_the_masked_reference(case, options, monkeypatch):
    check_reference(CASES[case], monkeypatch, **options)


@every_case
@pytest.mark.parametrize('invariant', INVARIANTS)
def test_invariants(case, invariant):
    INVARIANTS[invariant](CASES[case])


@every_case
@pytest.mark.parametrize('setting', SETTINGS)
def test_works_under(case, setting):
    SETTINGS[setting](CASES[case])


@every_case
def test_autocast(case, monkeypatch):
    check_autocast(CASES[case], monkeypatch)


class AppliedTwice(nn.Module):
    """One encoder layer that is applied twice in a forward."""

    def __init__(self, run=None):
        super().__init__()
        self.layer = encoder(norm_first=True, dropout=0.0)[0]
        self.run = run or (lambda layer, x: layer(x))

    def forward(self, x):
        return self.run(self.layer, self.run(self.layer, x))


def test_each_application_of_a_block_draws_its_own_tokens(monkeypatch):
    """Of 4 tokens 2 are kept: two independent masks are equal in 1 of 6 forwards."""
    model, x = AppliedTwice().double(), torch.randn(1, 4, 8, dtype=torch.float64)
    apply_sbp(model, TokenSBPConfig(keep_ratio=0.5, mask='random'))
    masks, forwards = record_masks(monkeypatch), 400
    for _ in range(forwards):
        model(x)
    kept = torch.stack([mask.kept for mask in masks]).view(forwards, 2, 2, 4)  # by branch
    equal = (kept[:, 0] == kept[:, 1]).all(-1).double().mean(0)  # (2,)
    assert ((equal - 1 / 6).abs() < 5 * (1 / 6 * 5 / 6 / forwards)**0.5).all()


def test_gradient_through_two_applications_is_unbiased():
    """The mean over many draws is the full gradient, within 5 standard errors."""
    torch.manual_seed(0)
    model, x = AppliedTwice().double(), torch.randn(2, 4, 8, dtype=torch.float64)
    full = torch.cat([g.flatten() for g in gradients(model, x).values()])
    apply_sbp(model, TokenSBPConfig(keep_ratio=0.5, mask='random'))
    drawn = torch.stack([torch.cat([g.flatten() for g in gradients(model, x).values()])
                         for _ in range(300)])
    error = (drawn.mean(0) - full) / (drawn.std(0) / len(drawn)**0.5 + 1e-12)
    assert error.abs().max() < 5


def test_checkpointing_repeats_one_application_and_refuses_several():
    def repeat(layer, x):
        return checkpoint(layer, x, use_reentrant=False)

    model, x = AppliedTwice(repeat).double(), torch.randn(2, 4, 8, dtype=torch.float64)
    apply_sbp(model, TokenSBPConfig(keep_ratio=0.5))
    with pytest.raises(SBPError, match="block 'layer' is applied 2 times in one forward"):
        gradients(model, x)
    model.forward = lambda x: repeat(model.layer, x)
    gradients(model, x)


def test_memory_is_metered_by_module_in_token_mode():
    model, x = CASES['pre-norm'].make()
    apply_sbp(model, TokenSBPConfig(keep_ratio=0.3))
    with SavedMemory(model, per_module=True) as saved:
        model(x)
    assert sum(saved.by_module().values()) >= saved.bytes > 0


def test_a_block_with_a_changed_layer_may_be_left_out():
    model, x = CASES['pre-norm'].make()
    subclass(model, '0.linear1')
    with pytest.raises(SBPError, match="block '0' cannot .* 'linear1' by itself, but that layer "
                                       "has the type .*Adapted; restore"):
        apply_sbp(model, TokenSBPConfig(keep_ratio=0.3))
    assert apply_sbp(model, TokenSBPConfig(keep_ratio=0.3),
                     lambda name, _: name != '0').covered == ('1', )


def test_an_activation_with_parameters_is_refused():
    model = encoder(activation=nn.PReLU())
    with pytest.raises(SBPError, match="'activation' by itself, but that layer has parameters"):
        apply_sbp(model, TokenSBPConfig(keep_ratio=0.3))


def explicit_attention(layer, kept):
    """The attention branch with the gradient of k and v masked by ``kept`` (B, N, 1)."""
    attention = layer.self_attn

    def branch(x, *_, **__):
        packed = F.linear(x, attention.in_proj_weight, attention.in_proj_bias)
        queries, others = packed.split([8, 16], -1)
        parts = torch.cat([queries, masked(others, kept)], -1).unflatten(-1, (3, 2, 4))
        q, k, v = parts.permute(2, 0, 3, 1, 4)  # (B, h, N, d) each
        weights = (q @ k.transpose(-2, -1) / 2).softmax(-1)
        return layer.dropout1(attention.out_proj((weights @ v).transpose(1, 2).flatten(2)))
    return branch


def test_kept_keys_and_values_of_an_encoder_layer(monkeypatch):
    case, config = CASES['pre-norm'], TokenSBPConfig(keep_ratio=0.3, kv='kept')
    model, x = case.make()
    turn_off_dropout(model)
    masks = record_masks(monkeypatch)
    apply_sbp(model, config)
    found = gradients(model, x)
    remove_sbp(model)
    for layer, mask in zip(model, masks[::2]):
        layer._sa_block = explicit_attention(layer, mask.kept[..., None].double())
    monkeypatch.setattr('copy.deepcopy', lambda module: module)
    expected = reference_gradients(case, model, x, masks, TokenSBPConfig())
    assert_same(found, expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize('masks', ['source', 'padding', 'both', 'per-head', 'causal'])
def test_masks_of_an_encoder_layer(masks, monkeypatch):
    """Scores are masked as in the plain layer, whichever masks come."""
    model, x = CASES['pre-norm'].make()
    length = x.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool).triu(1)
    padding = torch.arange(length) >= torch.tensor([[length], [15]])
    options = {
        'source': dict(src_mask=causal), 'padding': dict(src_key_padding_mask=padding),
        'both': dict(src_mask=causal, src_key_padding_mask=padding),
        'per-head': dict(src_mask=causal.expand(4, -1, -1)),
        'causal': dict(src_mask=causal, is_causal=True)}[masks]

    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = model[0]

        def forward(self, x):
            return self.layer(x, **options)

    case = Case(Masked, tuple(x.shape), LAYER, ends)
    check_reference(case, monkeypatch)
    INVARIANTS['forward'](case)


def test_mean_over_the_draws_is_the_full_gradient():
    """With both residual forms whole and rescaled, every parameter's estimate is unbiased."""
    model, x = CASES['pre-norm'].make()
    turn_off_dropout(model)
    full = gradients(model, x)
    apply_sbp(model, TokenSBPConfig(keep_ratio=0.5))
    draws = [gradients(model, x) for _ in range(300)]
    for name, expected in full.items():
        found = torch.stack([draw[name] for draw in draws])
        standard_error = found.std(0).norm() / len(draws)**0.5
        assert (found.mean(0) - expected).norm() < 3 * standard_error + 1e-9, name


def test_an_activation_in_place_is_fine(monkeypatch):
    def build():
        return nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 16), nn.ReLU(inplace=True),
                             nn.Linear(16, 8))
    case = Case(build, (2, 9, 8), nn.Sequential, None, dropped=False)
    check_reference(case, monkeypatch)


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore:.*should not be instantiated:DeprecationWarning',
                            'ignore:The .grad attribute of a Tensor')  # torch's own, in tracing
@pytest.mark.parametrize('case', rest_nightly(['pre-norm', 'pointwise'], ['pre-norm']))
def test_compiled(case):
    check_compile(CASES[case])


class TestApply:
    """Coverage of blocks and refusals."""

    def test_report_and_filter(self):
        model = encoder()
        report = apply_sbp(model, SBPConfig(keep_ratio=0.5), lambda name, _: name == '1')
        assert report.covered == ('1', ) and report.left == ('0', )
        assert type(model[0]) is LAYER and isinstance(model[1], LAYER)
        assert report.state.config == TokenSBPConfig(keep_ratio=0.5, rescale=True)
        assert '1 blocks' in str(report)

    def test_applied_twice(self):
        model = encoder()
        apply_sbp(model, TokenSBPConfig())
        with pytest.raises(SBPError, match="already applied .block '0.0'.; call remove_sbp"):
            apply_sbp(nn.Sequential(model), TokenSBPConfig(), lambda name, _: True)

    @pytest.mark.parametrize('model, filter_fn, message', [
        (nn.Linear(2, 2), None, 'no block of a known type .*TransformerEncoderLayer.*register'),
        (encoder(), lambda name, module: False, "filter_fn excluded all 2 .*'0'; return True")])
    def test_nothing_matched(self, model, filter_fn, message):
        with pytest.raises(SBPError, match=message):
            apply_sbp(model, TokenSBPConfig(), filter_fn)

    def test_data_parallel_and_wrong_config(self):
        with pytest.raises(SBPError, match='wrapped in DataParallel'):
            apply_sbp(nn.DataParallel(encoder()), TokenSBPConfig())
        with pytest.raises(SBPError, match='must be a TokenSBPConfig or SBPConfig, got float'):
            apply_sbp(encoder(), 0.25)

    def test_nothing_to_remove(self):
        with pytest.raises(SBPError, match='not applied to this model'):
            remove_sbp(encoder())

    def test_a_shortcut_outside_cannot_be_cut(self):
        with pytest.raises(SBPError, match="'mlp': its residual connection lies outside"):
            apply_sbp(PointwiseMLP(), TokenSBPConfig(shortcut='dropped'))


@pytest.mark.parametrize('options, message', [
    (dict(keep_ratio=0), r'keep_ratio must be a number in \(0, 1\], got 0'),
    (dict(keep_ratio=1.5), 'keep_ratio must be'), (dict(keep_ratio='a'), 'keep_ratio must be'),
    (dict(mask='cube'), "mask must be one of .*'tube'.*got 'cube'"),
    (dict(kv='none'), "kv must be one of .*got 'none'"),
    (dict(shortcut='cut'), "shortcut must be one of .*got 'cut'"),
    (dict(rescale='yes'), "rescale must be True, False or None, got 'yes'"),
    (dict(rescale=True, shortcut='dropped'), "rescale=True needs shortcut='full'")])
def test_config_refuses(options, message):
    with pytest.raises(SBPError, match=message):
        TokenSBPConfig(**options)
