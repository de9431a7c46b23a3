import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.lstr import attend, position

from sbp_tad.models.errors import ModelError
from sbp_tad.models.heads.lstr_decoder import (
    Attention,
    HistoryDecoder,
    causal_mask,
    sinusoidal_encoding,
)


def decoder(**options):
    torch.manual_seed(0)
    return HistoryDecoder(2, 8, 2, 12, 0.0, **options).double().eval()


def tokens(length, batch=2):
    generator = torch.Generator().manual_seed(length)
    return torch.randn(batch, length, 8, generator=generator, dtype=torch.float64)


def test_positions_are_encoded_as_in_the_reference():
    found = sinusoidal_encoding(torch.arange(-3, 40), 8)
    expected = torch.stack([position(index, 8) for index in range(-3, 40)])
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-5)
    assert found[3].tolist() == [0, 1] * 4 and found[2, 0] == pytest.approx(-math.sin(1))


@pytest.mark.parametrize('mask', [[1, 1, 1], [0, 1, 1], [0, 0, 0]])
def test_attention_reads_what_is_allowed_only(mask):
    torch.manual_seed(0)
    attention, mask = Attention(8, 2, 0.0).double(), torch.tensor(mask, dtype=torch.bool)
    x, others = tokens(2)[0], tokens(3)[0]
    found = attention(x[None], attention.keys_values(others[None]), mask[None])[0]
    weights = {f'a.{name}': p.detach() for name, p in attention.named_parameters()}
    for row, query in zip(found, x):
        torch.testing.assert_close(row, attend(weights, 'a', 2, query, list(others[mask])))


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_going_on_equals_going_at_once(lengths):
    model, x, history = decoder(causal=True), tokens(sum(lengths)), tokens(3)
    at_once, _ = model(x, model.read(history))
    past, parts = None, []
    for part in x.split(lengths, dim=1):
        out, past = model(part, model.read(history), past=past)
        parts.append(out)
    torch.testing.assert_close(torch.cat(parts, dim=1), at_once)


def test_without_causality_the_first_token_sees_the_last():
    x, history = tokens(4), tokens(3)
    changed = torch.cat((x[:, :3], x[:, 3:] + 1), dim=1)
    for causal in (False, True):
        model = decoder(causal=causal)
        before, after = (model(one, model.read(history))[0][:, :3] for one in (x, changed))
        assert torch.equal(before, after) == causal


def test_causal_mask_of_the_last_tokens():
    assert causal_mask(2, 4, 'cpu').int().tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]


def test_dropout_acts_in_training_alone():
    model, x = HistoryDecoder(1, 8, 2, 12, 0.5), tokens(3).float()
    history = model.read(x)
    assert not torch.equal(model(x, history)[0], model(x, history)[0])
    model.eval()
    assert torch.equal(model(x, history)[0], model(x, history)[0])


def test_channels_must_split_into_heads():
    with pytest.raises(ModelError, match='8 channels cannot be split into 3 heads'):
        Attention(8, 3, 0.0)


def test_attention_starts_like_that_of_pytorch():
    torch.manual_seed(0)
    found, theirs = Attention(64, 4, 0.0), torch.nn.MultiheadAttention(64, 4)
    weights = torch.cat([part.weight for part in (found.query, found.key, found.value)])
    limit = (6 / (4 * 64)) ** 0.5  # Xavier of one matrix (3C, C)
    for weight in (weights, theirs.in_proj_weight):
        assert 0.98 * limit < weight.abs().max() <= limit
    assert not any(part.bias.any() for part in (found.query, found.key, found.value, found.out))
    assert not theirs.in_proj_bias.any() and not theirs.out_proj.bias.any()
