"""Folded batch normalization: the two layers' outputs and gradients, half of their memory."""
import copy
import pickle

import pytest
import torch
from torch import nn

from sbp_tad.sbp import SavedMemory, SBPError, fold_frozen_norm, unfold_frozen_norm
from sbp_tad.sbp.frozen_norm import Pair, has_more_weights, numbered_pairs

CASES = {
    '1d': (lambda: (nn.Conv1d(3, 6, 3), nn.BatchNorm1d(6)), (3, 9)),
    '2d': (lambda: (nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.BatchNorm2d(6)), (3, 9, 8)),
    'no bias': (lambda: (nn.Conv2d(4, 6, 3, groups=2, dilation=2, bias=False),
                         nn.BatchNorm2d(6, eps=0.1)), (4, 9, 8)),
    'no scale': (lambda: (nn.Conv2d(3, 6, 1), nn.BatchNorm2d(6, affine=False)), (3, 5, 5)),
    '3d': (lambda: (nn.Conv3d(3, 6, (1, 3, 3)), nn.BatchNorm3d(6)), (3, 2, 6, 6)),
    'more weights than outputs': (lambda: (nn.Conv2d(40, 6, 3, padding=1), nn.BatchNorm2d(6)),
                                  (40, 4, 4)),
    'pointwise, more weights': (lambda: (nn.Conv3d(80, 6, 1, bias=False), nn.BatchNorm3d(6)),
                                (80, 1, 2, 2)),
    'pointwise, strided': (lambda: (nn.Conv2d(4, 6, 1, stride=2, groups=2), nn.BatchNorm2d(6)),
                           (4, 5, 5)),
    'sync': (lambda: (nn.Conv2d(3, 6, 3), nn.SyncBatchNorm(6)), (3, 6, 6)),
}
FROZEN = {'nothing': [], 'conv': ['0.'], 'norm': ['1.'], 'scale': ['1.weight'],
          'weights': ['0.', '1.weight']}
every_case = pytest.mark.parametrize('case', CASES)


def build(case, frozen=()):
    torch.manual_seed(0)
    make, shape = CASES[case]
    model = nn.Sequential(*make(), nn.ReLU(inplace=True)).double()
    for tensor in (*model.parameters(), model[1].running_mean):
        nn.init.normal_(tensor)
    nn.init.uniform_(model[1].running_var, 0.5, 2)
    model[1].eval()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not any(name.startswith(start) for start in frozen))
    return model, torch.randn(4, *shape, dtype=torch.float64, requires_grad=True)


def run(model, x):
    model.zero_grad()
    x.grad = None
    output = model(x)
    (output * output.detach().cos()).sum().backward()
    return output, [x.grad] + [p.grad for p in model.parameters()]


def assert_same(one, other):
    torch.testing.assert_close(one[0], other[0], rtol=1e-12, atol=1e-12)
    for a, b in zip(one[1], other[1]):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@every_case
@pytest.mark.parametrize('frozen', FROZEN)
def test_output_and_gradients_are_those_of_the_two_layers(case, frozen):
    model, x = build(case, FROZEN[frozen])
    expected = run(model, x)
    assert fold_frozen_norm(model) == 1
    assert_same(run(model, x), expected)


@pytest.mark.parametrize('case', ['2d', 'more weights than outputs'])
def test_a_scale_of_zero_has_a_gradient(case):
    model, x = build(case)
    nn.init.zeros_(model[1].weight)
    nn.init.ones_(model[1].bias)
    expected = run(model, x)
    assert expected[1][3].abs().min() > 0
    fold_frozen_norm(model)
    assert_same(run(model, x), expected)


def test_where_the_scale_goes_does_not_depend_on_the_items_of_a_pass():
    geometry = [(1, 1)]
    weight = torch.empty(8, 16 * 25 + 1, 1, 1)
    assert all(has_more_weights(weight, (n, 1, 5, 5), geometry) for n in (1, 16, 100))
    assert not any(has_more_weights(weight[:, 1:], (n, 1, 5, 5), geometry) for n in (1, 16, 100))
    assert has_more_weights(weight[:, 1:], (1, 1, 5, 5), [(2, 2)])


@every_case
def test_state_dict_is_unchanged_and_undo_exists(case):
    model, x = build(case)
    before, expected = copy.deepcopy(model.state_dict()), model(x)
    fold_frozen_norm(model)
    assert list(before) == list(model.state_dict())
    assert unfold_frozen_norm(model) == 1
    assert torch.equal(model(x), expected) and 'forward' not in model[0].__dict__


def test_only_the_input_is_saved():
    model, x = build('2d')
    x = x.detach()
    with SavedMemory(model) as plain:
        model(x)
    fold_frozen_norm(model)
    with SavedMemory(model) as folded:
        output = model(x)
    assert folded.bytes == x.nbytes + output.nbytes  # the ReLU's output is the next input
    assert plain.bytes >= folded.bytes + output.nbytes


def test_input_is_not_saved_where_no_weight_needs_it():
    model, x = build('2d', ['0.', '1.weight'])
    fold_frozen_norm(model)
    with SavedMemory(model) as saved:
        model[:2](x)
    assert saved.bytes == 0


def test_evaluation_and_live_statistics_are_left_alone():
    model, x = build('2d')
    plain = copy.deepcopy(model)
    fold_frozen_norm(model)
    assert torch.equal(model.eval()(x), plain.eval()(x))
    assert torch.equal(model.train()(x), plain.train()(x))
    assert torch.equal(model[1].running_mean, plain[1].running_mean)


@pytest.mark.parametrize('copied', [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_are_folded_on_their_own(copied):
    model, x = build('2d')
    fold_frozen_norm(model)
    model[0](x)  # a value on its way from one layer to the next is not copied
    twin = copied(model)
    assert twin[0].forward.__self__.norm is twin[1]
    nn.init.zeros_(model[1].weight)
    assert float(twin(x).detach().abs().sum()) > 0
    assert unfold_frozen_norm(twin) == 1 and 'forward' in model[0].__dict__


def test_a_normalization_replaced_later_is_noticed():
    """As when a Runner makes batch normalization synchronized."""
    model, x = build('2d')
    expected = run(model, x)
    fold_frozen_norm(model)
    replaced = nn.BatchNorm2d(6).double().eval()
    replaced.load_state_dict(model[1].state_dict())
    model[1] = replaced
    assert_same(run(model, x), expected)


class Named(nn.Module):
    def __init__(self, between=None):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4).eval()
        self.between = between or nn.Identity()

    def forward(self, x):
        return self.bn1(self.between(self.conv1(x)))


def test_pairs_by_name_on_request():
    model, x = Named(), torch.randn(2, 3, 6, 6)
    expected = model(x)
    with pytest.raises(SBPError, match='Named has no convolution followed by batch norm.*add a'):
        fold_frozen_norm(model)
    assert fold_frozen_norm(model, rules=[numbered_pairs]) == 1
    torch.testing.assert_close(model(x), expected, rtol=1e-5, atol=1e-6)


def test_a_pair_may_reach_into_another_module():
    model, x = build('2d')
    expected = run(model, x)
    model[0] = nn.Sequential(nn.Identity(), model[0])
    assert fold_frozen_norm(model, [lambda module: [Pair('0.1', '1')] * (module is model)]) == 1
    assert_same(run(model, x), expected)
    assert unfold_frozen_norm(model) == 1


def test_a_wrong_pair_is_refused_at_the_first_forward():
    model = Named(between=nn.Sigmoid())
    fold_frozen_norm(model, rules=[numbered_pairs])
    with pytest.raises(SBPError, match="input of 'bn1' is not the output of 'conv1'"):
        model(torch.randn(2, 3, 6, 6))


def frozen(*sizes):
    """Batch normalization in evaluation mode with statistics of its own."""
    layers = [nn.BatchNorm2d(size) for size in sizes]
    for layer in layers:
        nn.init.normal_(layer.running_mean)
        nn.init.uniform_(layer.running_var, 0.5, 2)
    return [layer.eval() for layer in layers]


class SharedConvolution(nn.Module):
    """One convolution that two normalizations share, as heads on a pyramid do."""

    def __init__(self, conv, norms):
        super().__init__()
        self.paths = nn.ModuleList(nn.Sequential(conv, norm) for norm in norms)

    def forward(self, x):
        return self.paths[0](x) + self.paths[1](2 * x)


def test_a_convolution_that_two_normalizations_share_is_not_folded():
    torch.manual_seed(0)
    model = SharedConvolution(nn.Conv2d(3, 4, 3), frozen(4, 4))
    model.append = nn.Sequential(nn.Conv2d(4, 4, 3), *frozen(4))
    x = torch.randn(2, 3, 6, 6)
    expected = model(x)
    assert fold_frozen_norm(model) == 1  # the one that is not shared
    assert torch.equal(model(x), expected)


def test_a_normalization_that_two_convolutions_share_is_not_folded():
    (norm, ) = frozen(4)
    model = nn.ModuleList(nn.Sequential(nn.Conv2d(3, 4, 3), norm) for _ in range(2))
    with pytest.raises(SBPError, match='no convolution followed by'):
        fold_frozen_norm(model)


class TwoNorms(nn.Module):
    """A convolution in one module whose second normalization no rule knows."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3)
        self.bn1, self.other = frozen(4, 4)

    def forward(self, x):
        return self.bn1(self.conv1(x)) + self.other(self.conv1(2 * x))


def test_an_output_without_its_normalization_is_refused_in_the_backward():
    model = TwoNorms()
    fold_frozen_norm(model, [numbered_pairs])
    with pytest.raises(SBPError, match="the output of 'conv1' is used without 'bn1'"):
        model(torch.randn(2, 3, 6, 6)).sum().backward()
    unfold_frozen_norm(model)
    model(torch.randn(2, 3, 6, 6)).sum().backward()


class Fails(nn.Module):
    """A convolution and its normalization; a forward in training fails between them."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3)
        (self.bn1, ) = frozen(4)
        self.fails = False

    def forward(self, x):
        x = self.conv1(x)
        if self.fails:
            raise MemoryError
        return self.bn1(x)


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('alone', [True, False])
def test_a_forward_that_fails_in_between_leaves_nothing_behind(training, alone):
    model, x = Fails(), torch.randn(2, 3, 6, 6)
    expected, normalized = model(x), model.bn1(model.conv1(x))
    fold_frozen_norm(model, [numbered_pairs])
    model.fails = True
    with pytest.raises(MemoryError):
        model(x)
    model.fails = False
    model.conv1.train(training)
    if alone and not training:  # the normalization is called first
        torch.testing.assert_close(model.bn1(nn.Conv2d.forward(model.conv1, x)), normalized)
    torch.testing.assert_close(model(x), expected, rtol=1e-5, atol=1e-6)
    model(x).sum().backward()


def test_twice_and_nothing_to_undo():
    model, _ = build('2d')
    with pytest.raises(SBPError, match='nothing to undo'):
        unfold_frozen_norm(model)
    fold_frozen_norm(model)
    with pytest.raises(SBPError, match='already folded'):
        fold_frozen_norm(model)


@pytest.mark.parametrize('layers', [
    (nn.ConvTranspose2d(3, 4, 3), nn.BatchNorm2d(4)),
    (nn.Conv2d(3, 4, 3, padding_mode='circular', padding=1), nn.BatchNorm2d(4)),
    (nn.Conv2d(3, 4, 3, padding='same'), nn.BatchNorm2d(4)),
    (nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4)),
    (nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False))])
def test_other_layers_are_left_alone(layers):
    with pytest.raises(SBPError, match='has no convolution followed by'):
        fold_frozen_norm(nn.Sequential(*layers))


def test_autocast_rounds_as_the_two_layers():
    model, x = build('2d')
    model, x = model.float(), x.detach().float()
    with torch.autocast('cpu', torch.bfloat16):
        expected = model(x)
        fold_frozen_norm(model)
        found = model(x)
    assert found.dtype == expected.dtype == torch.bfloat16
    torch.testing.assert_close(found, expected, rtol=0.05, atol=0.05)
    found.float().sum().backward()
    assert all(p.grad.dtype == torch.float32 for p in model.parameters())
