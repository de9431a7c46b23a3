"""DropIT written the slow way: two passes of plain autograd over one layer.

The output and the gradient of the input come from the layer as it is, the
gradients of its parameters from a second pass over an input in which, item by
item, all but the numbers of largest magnitude are zero.
"""
import torch


def keep_largest(x, keep_ratio):
    """``x`` (n, ...) with zeros for all but the share of each item that is largest by magnitude."""
    kept = torch.zeros_like(x)
    for item, numbers in zip(kept, x.detach()):
        count = max(1, round(keep_ratio * numbers.numel()))
        ranked = sorted(range(numbers.numel()), key=lambda i: -abs(numbers.reshape(-1)[i].item()))
        for place in ranked[:count]:
            item.view(-1)[place] = numbers.reshape(-1)[place]
    return kept


def dropped_gradients(layer, x, from_above, keep_ratio):
    """Output, gradient of ``x`` and {name: gradient} of a layer for dL/dy ``from_above``."""
    leaf = x.detach().requires_grad_()
    output = layer(leaf)
    (of_x, ) = torch.autograd.grad(output, leaf, from_above)
    named = dict(layer.named_parameters())
    of_parameters = torch.autograd.grad(layer(keep_largest(x, keep_ratio)), list(named.values()),
                                        from_above)
    return output.detach(), of_x, dict(zip(named, of_parameters))


def straight_through(layer, x, keep_ratio):
    """The layer's output for use in a network, with these gradients.

    The input passes through the layer with constant weights, the weights with
    a constant, thinned out input; the two differ by a constant.
    """
    constant = {name: p.detach() for name, p in layer.named_parameters()}
    of_input = torch.func.functional_call(layer, constant, x)
    of_weights = layer(keep_largest(x, keep_ratio))
    return of_input + of_weights - of_weights.detach()
