"""Cells and functions for generated torch modules."""

import torch
from torch import nn


class Recurrent(nn.Module):
    """A recurrent layer with nn.LSTM's parameters, for what nn.LSTM cannot compute.

    x is (batch, time, features). Where mask (batch, time) is
    False, a step keeps the state and repeats the output before it, zeros at first;
    with zero_masked its output is zero.
    """

    gates = 1

    def __init__(
        self,
        input_size,
        hidden_size,
        bias=True,
        bidirectional=False,
        zero_masked=False,
        reset_after=True,
        activation=torch.tanh,
        recurrent_activation=torch.sigmoid,
    ):
        super().__init__()
        self.hidden_size, self.zero_masked = hidden_size, zero_masked
        self.reset_after = reset_after
        self.activation, self.recurrent_activation = activation, recurrent_activation
        self.directions = ["_l0", "_l0_reverse"] if bidirectional else ["_l0"]
        rows = self.gates * hidden_size
        shapes = {"weight_ih": (rows, input_size), "weight_hh": (rows, hidden_size)}
        shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)} if bias else {}
        for direction in self.directions:
            for name, shape in shapes.items():
                weight = nn.Parameter(torch.zeros(shape))
                self.register_parameter(name + direction, weight)

    def forward(self, x, hx=None, mask=None):
        x = x.swapaxes(0, 1)
        mask = None if mask is None else mask.swapaxes(0, 1).unsqueeze(-1)
        outputs, states = [], []
        for i, direction in enumerate(self.directions):
            if i == 1:
                x = x.flip(0)
                mask = None if mask is None else mask.flip(0)
            y, state = self.run(x, self.first(x, hx, i), mask, direction)
            outputs.append(y.flip(0) if i == 1 else y)
            states.append(state)
        states = tuple(torch.stack(state) for state in zip(*states, strict=True))
        return torch.cat(outputs, dim=-1).swapaxes(0, 1), self.last(states)

    def run(self, x, state, mask, direction):
        x = nn.functional.linear(
            x,
            getattr(self, "weight_ih" + direction),
            getattr(self, "bias_ih" + direction, None),
        )
        weight = getattr(self, "weight_hh" + direction)
        bias = getattr(self, "bias_hh" + direction, None)
        output, outputs = torch.zeros_like(state[0]), []
        for t in range(len(x)):
            new = self.step(x[t], state, weight, bias)
            if mask is None:
                state, output = new, new[0]
            else:
                before = torch.zeros_like(output) if self.zero_masked else output
                output = torch.where(mask[t], new[0], before)
                pairs = zip(new, state, strict=True)
                state = tuple(torch.where(mask[t], n, old) for n, old in pairs)
            outputs.append(output)
        return torch.stack(outputs), state

    def first(self, x, hx, i):
        return (x.new_zeros(x.shape[1], self.hidden_size) if hx is None else hx[i],)

    def last(self, states):
        return states[0]


class RNN(Recurrent):
    """nn.RNN with any activation and any mask."""

    def step(self, x, state, weight, bias):
        return (self.activation(x + nn.functional.linear(state[0], weight, bias)),)


class GRU(Recurrent):
    """nn.GRU with any activations, any mask, and the reset gate in either place."""

    gates = 3

    def step(self, x, state, weight, bias):
        (h,) = state
        n = 2 * self.hidden_size
        first, last = (None, None) if bias is None else (bias[:n], bias[n:])
        gates = x[:, :n] + nn.functional.linear(h, weight[:n], first)
        r, z = self.recurrent_activation(gates).chunk(2, dim=-1)
        if self.reset_after:
            new = r * nn.functional.linear(h, weight[n:], last)
        else:
            new = nn.functional.linear(r * h, weight[n:], last)
        return ((1 - z) * self.activation(x[:, n:] + new) + z * h,)


class LSTM(Recurrent):
    """nn.LSTM with any activations and any mask."""

    gates = 4

    def first(self, x, hx, i):
        zeros = x.new_zeros(x.shape[1], self.hidden_size)
        return (zeros, zeros) if hx is None else (hx[0][i], hx[1][i])

    def last(self, states):
        return states

    def step(self, x, state, weight, bias):
        h, c = state
        i, f, g, o = (x + nn.functional.linear(h, weight, bias)).chunk(4, dim=-1)
        i, f = self.recurrent_activation(i), self.recurrent_activation(f)
        c = f * c + i * self.activation(g)
        return self.recurrent_activation(o) * self.activation(c), c


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
