"""Functions for generated torch modules."""

import torch
from torch import nn


def hard_sigmoid(x):
    """Keras's before version 3: of slope 0.2."""
    return torch.clamp(0.2 * x + 0.5, 0.0, 1.0)


def softmax(x):
    """Over the last axis."""
    return torch.softmax(x, dim=-1)


def log_softmax(x):
    """Over the last axis."""
    return torch.log_softmax(x, dim=-1)


def leaky_relu(x):
    """Keras's activation of that name, of slope 0.2."""
    return nn.functional.leaky_relu(x, 0.2)


def masked_mean(x, mask, keepdim=False):
    """The mean over time of the steps that the mask has."""
    mask = mask.unsqueeze(-1)
    total = torch.where(mask, x, 0.0).sum(1, keepdim=keepdim)
    return total / mask.to(x.dtype).sum(1, keepdim=keepdim)


def causal(query, key):
    """Which steps of key each step of query sees: those up to itself."""
    rows = torch.arange(query.shape[-2], device=query.device).reshape(1, -1, 1)
    return rows >= torch.arange(key.shape[-2], device=key.device)


def attend(query, key, value, mask=None, *, heads, zero_masked=False):
    """Attention of heads that stand side by side: what it gives, and the weights.

    Where mask (batch, steps of query, steps of key) is False, a step is not seen;
    who sees none sees all alike, or nothing with zero_masked.
    """
    query = query.unflatten(2, (heads, -1)).swapaxes(1, 2)
    key = key.unflatten(2, (heads, -1)).swapaxes(1, 2)
    value = value.unflatten(2, (heads, -1)).swapaxes(1, 2)
    scores = torch.matmul(query, key.swapaxes(2, 3)) / query.shape[3] ** 0.5
    if mask is not None:
        scores = torch.where(mask.unsqueeze(1), scores, -1e30)
    weights = torch.softmax(scores, dim=3)
    if zero_masked:
        weights = torch.where(mask.unsqueeze(1), weights, 0.0)
    return torch.matmul(weights, value).swapaxes(1, 2).flatten(2), weights


def same_pads(sizes, size, stride):
    """What nn.functional.pad takes: the smaller half first."""
    pads = []
    for n, k, s in zip(sizes, size, stride, strict=True):
        total = max((-(-n // s) - 1) * s + k - n, 0)
        pads = [total // 2, total - total // 2, *pads]
    return pads


def pad_same(x, size, stride):
    """Zeros around x for windows that may reach over the ends."""
    return nn.functional.pad(x, same_pads(x.shape[2:], size, stride))


def max_pool_same(x, size, stride):
    """Max pooling over windows that may reach over the ends."""
    pads = same_pads(x.shape[2:], size, stride)
    x = nn.functional.pad(x, pads, value=float("-inf"))
    pool = (
        nn.functional.max_pool1d,
        nn.functional.max_pool2d,
        nn.functional.max_pool3d,
    )
    return pool[len(size) - 1](x, size, stride)


def avg_pool_same(x, size, stride):
    """Average pooling of what lies inside windows that may reach over the ends."""
    pads = same_pads(x.shape[2:], size, stride)
    pool = (
        nn.functional.avg_pool1d,
        nn.functional.avg_pool2d,
        nn.functional.avg_pool3d,
    )
    pool = pool[len(size) - 1]
    count = nn.functional.pad(torch.ones_like(x), pads)
    return pool(nn.functional.pad(x, pads), size, stride) / pool(count, size, stride)


def linear(x):
    """As it is."""
    return x


def conv_lstm(
    x,
    weight,
    h=None,
    c=None,
    activation=torch.tanh,
    recurrent_activation=torch.sigmoid,
):
    """Keras's ConvLSTM of gates (batch, time, 4 * filters, ...): y, last states."""
    conv = getattr(nn.functional, f"conv{x.ndim - 3}d")
    if h is None:
        h = c = torch.zeros_like(x[:, 0].chunk(4, dim=1)[0])
    outputs = []
    for t in range(x.shape[1]):
        i, f, g, o = (x[:, t] + conv(h, weight, padding="same")).chunk(4, dim=1)
        c = recurrent_activation(f) * c + recurrent_activation(i) * activation(g)
        h = recurrent_activation(o) * activation(c)
        outputs.append(h)
    return torch.stack(outputs, dim=1), h, c
