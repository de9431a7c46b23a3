"""The table of blocks for token-level SBP, and what every test does with one."""
from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import dataclass

import torch
from reference.masked_tokens import mask_branches, mask_keys_and_values, mask_output
from torch import nn

from sbp_tad.sbp import SavedMemory, SBPError, TokenSBPConfig, apply_sbp, remove_sbp
from sbp_tad.sbp.modules import TokenSBP


@dataclass(frozen=True)
class Case:
    """One model with the blocks that SBP covers.

    Args:
        build: the plain model.
        shape: of its input.
        plain_type: of its blocks.
        ends: modules whose inputs are the ends of a block's branches; None:
            the block is a branch itself, up to the output of ``last(block)``.
        packed: the projection to q, k and v, None where there is none.
        explicit: replaces the attention of a block, whose projection is no
            module, by one whose k and v have a masked gradient.
        arrange: mask (B, N, 1) to the layout of that projection, or of ``last``.
        order: mask (B, N, 1) to the order of the block's own tokens.
        dropped: whether ``shortcut='dropped'`` is possible.
        channels_first: whether a block returns (B, C, ...) instead of (B, ..., C).
        most_saved: bound of the saved bytes at a keep ratio of 1/4, as a share of all.
    """

    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    plain_type: type | tuple[type, ...]
    ends: Callable[[nn.Module], list[nn.Module]] | None
    last: Callable[[nn.Module], nn.Module] = staticmethod(lambda block: block)
    packed: Callable[[nn.Module], nn.Module] | None = None
    explicit: Callable[[nn.Module, torch.Tensor], None] | None = None
    arrange: Callable = staticmethod(lambda mask, block: mask)
    order: Callable = staticmethod(lambda mask: mask)
    dropped: bool = True
    channels_first: bool = False
    most_saved: float = 0.6

    def make(self, dtype=torch.float64):
        torch.manual_seed(0)
        model = self.build().to(dtype)
        model.train()  # some of mmaction return nothing
        for parameter in model.parameters():  # zeros at the start would hide a gradient
            nn.init.normal_(parameter, std=0.2)
        return model, torch.randn(self.shape, dtype=dtype)


def first(out):
    """The first tensor of nested lists and tuples."""
    return first(out[0]) if isinstance(out, (tuple, list)) else out


def loss_of(out):
    return first(out).sin().square().mean() * 100


def gradients(model, x):
    """Gradients of input and parameters by name."""
    x = x.clone().requires_grad_()
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    torch.manual_seed(1)
    grads = torch.autograd.grad(loss_of(model(x)), [x, *(p for _, p in named)], allow_unused=True)
    return dict(zip(['input', *(n for n, _ in named)], grads))


def record_masks(monkeypatch):
    """The list of masks that blocks draw from now on."""
    drawn, draw = [], TokenSBP.draw_mask

    def spy(self, *args, **kwargs):
        drawn.append(draw(self, *args, **kwargs))
        return drawn[-1]

    monkeypatch.setattr(TokenSBP, 'draw_mask', spy)
    return drawn


def reference_gradients(case, model, x, masks, config):
    """Plain autograd of a copy of the plain model, masked by hooks."""
    model = copy.deepcopy(model)
    types = case.plain_type if isinstance(case.plain_type, tuple) else (case.plain_type, )
    blocks = [module for module in model.modules() if type(module) in types]
    per_block = len(masks) // len(blocks)
    assert per_block * len(blocks) == len(masks)
    for block, *drawn in zip(blocks, *(masks[branch::per_block] for branch in range(per_block))):
        kept = [case.order(mask.kept[..., None].to(x.dtype)) for mask in drawn]
        if case.ends is None:
            mask_output(case.last(block), case.arrange(kept[0], block) * drawn[0].scale)
        else:
            mask_branches(case.ends(block), [(k, m.scale) for k, m in zip(kept, drawn)])
        if config.kv == 'kept' and case.packed:
            mask_keys_and_values(case.packed(block), case.arrange(kept[0], block))
        if config.kv == 'kept' and case.explicit:
            case.explicit(block, case.arrange(kept[0], block))
        if config.shortcut == 'dropped':
            mask_output(block, kept[0], case.channels_first)
    return gradients(model, x)


def assert_same(found, expected, **tolerance):
    assert found.keys() == expected.keys()
    for name in expected:
        if expected[name] is None:
            assert found[name] is None or not found[name].any(), name
        else:
            torch.testing.assert_close(found[name], expected[name], **tolerance,
                                       msg=lambda text, name=name: f'{name}: {text}')


def check_reference(case, monkeypatch, **options):
    """Gradients under SBP equal those of the masked reference."""
    config = TokenSBPConfig(**{'keep_ratio': 0.3, **options})
    model, x = case.make()
    masks = record_masks(monkeypatch)
    applied = copy.deepcopy(model)
    apply_sbp(applied, config)
    found = gradients(applied, x)
    assert_same(found, reference_gradients(case, model, x, masks, config), rtol=1e-7, atol=1e-9)
    full = gradients(model, x)
    assert any(not torch.allclose(full[n], g) for n, g in found.items() if g is not None)


def check_forward(case, keep_ratio=0.3):
    """The same bits as the plain model, training or not, and the same random state after."""
    model, x = case.make(torch.float32)
    applied = copy.deepcopy(model)
    apply_sbp(applied, TokenSBPConfig(keep_ratio=keep_ratio))
    for training in (True, False):
        model.train(training)
        applied.train(training)
        for context in (torch.enable_grad, torch.no_grad, torch.inference_mode):
            with context():
                torch.manual_seed(5)
                expected, state = first(model(x)), torch.get_rng_state()
                torch.manual_seed(5)
                assert torch.equal(first(applied(x)), expected)
                assert torch.equal(torch.get_rng_state(), state)


def check_plain_gradients(case):
    """Plain autograd's gradients with ``keep_ratio=1`` and in evaluation, bit for bit."""
    for keep_ratio, training in ((1, True), (0.3, False)):
        model, x = case.make()
        model.train(training)
        expected = gradients(model, x)
        apply_sbp(model, TokenSBPConfig(keep_ratio=keep_ratio))
        found = gradients(model, x)
        assert all(g is found[n] is None or torch.equal(found[n], g) for n, g in expected.items())


def check_state(case):
    """Keys and values of the state dict, classes and copies survive."""
    model, x = case.make()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    types = [type(module) for module in model.modules()]
    apply_sbp(model, TokenSBPConfig(keep_ratio=0.3))
    gradients(model, x)
    assert list(model.state_dict()) == list(before)
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())
    twins = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    expected = gradients(model, x)
    for twin in twins:
        found = gradients(twin, x)
        assert all(g is found[n] is None or torch.equal(found[n], g) for n, g in expected.items())
    remove_sbp(model)
    assert [type(module) for module in model.modules()] == types
    assert not model._forward_pre_hooks


def check_determinism(case):
    """Tokens depend on (seed, step) alone; each step and seed has its own."""
    model, x = case.make()

    def run(seed, steps_done):
        applied = copy.deepcopy(model)
        report = apply_sbp(applied, TokenSBPConfig(keep_ratio=0.3), seed=seed)
        report.state.step = steps_done
        return [gradients(applied, x)['input'] for _ in range(3)]

    one, again = run(0, 0), run(0, 0)
    assert all(torch.equal(a, b) for a, b in zip(one, again))
    assert torch.equal(run(0, 2)[0], one[2])
    assert not torch.equal(one[0], one[1]) and not torch.equal(run(1, 0)[0], one[0])


def check_frozen(case):
    """Every parameter that is not frozen gets the gradient it would get anyway."""
    model, x = case.make()
    apply_sbp(model, TokenSBPConfig(keep_ratio=0.3))
    expected = gradients(copy.deepcopy(model), x)
    names = [name for name, _ in model.named_parameters()]
    for frozen in (names[::2], names[1::2], [n for n in names if n.endswith('weight')]):
        partial = copy.deepcopy(model)
        for name in frozen:
            partial.get_parameter(name).requires_grad_(False)
        found = gradients(partial, x)
        assert not set(found) & set(frozen)
        assert_same(found, {n: expected[n] for n in found}, rtol=1e-9, atol=1e-12)


def check_autocast(case, monkeypatch):
    """Under bfloat16 autocast: the plain bits forward, finite gradients near the reference."""
    model, x = case.make(torch.float32)
    masks = record_masks(monkeypatch)
    config = TokenSBPConfig(keep_ratio=0.3)
    applied = copy.deepcopy(model)
    apply_sbp(applied, config)
    with torch.autocast('cpu', torch.bfloat16):
        torch.manual_seed(5)
        expected = first(model(x))
        torch.manual_seed(5)
        applied_out = first(applied(x))
        assert applied_out.dtype == expected.dtype and torch.equal(applied_out, expected)
        del masks[:]
        found = gradients(applied, x)
        reference = reference_gradients(case, model, x, masks, config)
    for name, gradient in reference.items():
        if gradient is not None:
            assert found[name].dtype == gradient.dtype and found[name].isfinite().all(), name
            error = (found[name] - gradient).norm() / gradient.norm().clamp(min=1e-3)
            assert error < 0.2, (name, error)


class Wrapper(nn.Module):
    """Wrapper of a linear layer that shows its weight, as those of LoRA do."""

    def __init__(self, base_layer):
        super().__init__()
        self.base_layer = base_layer

    weight = property(lambda self: self.base_layer.weight)
    bias = property(lambda self: self.base_layer.bias)
    out_features = property(lambda self: self.base_layer.out_features)

    def forward(self, x):
        return 2 * self.base_layer(x)


class Double(nn.Module):
    def forward(self, weight):
        return 2 * weight


def doubled(values):
    """Twice a tensor, or twice the first of several."""
    if isinstance(values, tuple):
        return (doubled(values[0]), *values[1:]) if values else values
    return 2 * values


def subclass(model, path):
    layer = model.get_submodule(path)
    forward = type(layer).forward
    layer.__class__ = type('Adapted', (type(layer), ), {
        'forward': lambda self, x: 2 * forward(self, x)})


def wrap(model, path):
    parent, _, name = path.rpartition('.')
    setattr(model.get_submodule(parent), name, Wrapper(model.get_submodule(path)))


def replace_forward(model, path):
    layer, forward = model.get_submodule(path), model.get_submodule(path).forward
    layer.forward = lambda *args, **kwargs: doubled(forward(*args, **kwargs))


def hook(model, path):
    model.get_submodule(path).register_forward_hook(lambda _, args, out: doubled(out))


def pre_hook(model, path):
    model.get_submodule(path).register_forward_pre_hook(lambda _, args: doubled(args))


def parametrize(model, path):
    nn.utils.parametrize.register_parametrization(model.get_submodule(path), 'weight', Double())


CHANGES_BEFORE = (pre_hook, subclass, parametrize)
CHANGES_AFTER = (hook, replace_forward, wrap)


def check_inner_layers(case):
    """A changed layer inside a block computes what it computes in the plain block, or is refused.

    All layers of one block of each type, changed before or after SBP is applied.
    """
    model, x = case.make()
    for module in model.modules():
        if hasattr(module, 'drop_prob'):
            module.drop_prob = 0.0
        elif isinstance(module, nn.Dropout):
            module.p = 0.0
        elif isinstance(module, nn.MultiheadAttention):
            module.dropout = 0.0
    types = case.plain_type if isinstance(case.plain_type, tuple) else (case.plain_type, )
    blocks = {type(block): name for name, block in model.named_modules() if type(block) in types}
    refused = 0
    for block in blocks.values():
        for path, layer in model.get_submodule(block).named_modules(prefix=block):
            changes = CHANGES_BEFORE + CHANGES_AFTER if isinstance(layer, nn.Linear) else (hook, )
            for change in changes if path != block else ():
                plain, applied = copy.deepcopy(model), copy.deepcopy(model)
                change(plain, path)
                try:
                    if change in CHANGES_BEFORE:
                        change(applied, path)
                    apply_sbp(applied, TokenSBPConfig(keep_ratio=0.3))
                    if change in CHANGES_AFTER:
                        change(applied, path)
                    found = first(applied(x))
                except SBPError as error:
                    assert 'restore the plain layer' in str(error) \
                        or 'has no block of a known type' in str(error)
                    refused += 1
                else:
                    torch.testing.assert_close(found, first(plain(x)), rtol=1e-9, atol=1e-9)
    assert refused >= len(CHANGES_BEFORE + CHANGES_AFTER)


def saved_bytes(model, x):
    with SavedMemory(model) as saved:
        model(x)
    return saved.bytes


def check_memory(case):
    """Fewer bytes with a smaller ratio, at most the given share of full backpropagation."""
    model, x = case.make(torch.float32)
    full, shares = saved_bytes(model, x), []
    for keep_ratio in (0.5, 0.25, 0.125):
        apply_sbp(model, TokenSBPConfig(keep_ratio=keep_ratio))
        shares.append(saved_bytes(model, x) / full)
        remove_sbp(model)
    assert shares == sorted(shares, reverse=True) and shares[1] <= case.most_saved, shares


INVARIANTS = {check.__name__[6:]: check for check in (
    check_forward, check_plain_gradients, check_state, check_determinism, check_frozen,
    check_memory, check_inner_layers)}
