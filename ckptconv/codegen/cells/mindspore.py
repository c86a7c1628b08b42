"""Cells and functions for generated MindSpore modules."""

import mindspore as ms
from mindspore import Parameter, nn, ops


class Recurrent(nn.Cell):
    """A recurrent layer with nn.LSTM's parameters, for what nn.LSTM cannot compute.

    x is (batch, time, features); any length compiles. Where mask (batch, time) is
    False, a step keeps the state and repeats the output before it, zeros at first;
    with zero_masked its output is zero.
    """

    gates = 1

    def __init__(
        self,
        input_size,
        hidden_size,
        has_bias=True,
        bidirectional=False,
        zero_masked=False,
        reset_after=True,
        activation=ops.tanh,
        recurrent_activation=ops.sigmoid,
    ):
        super().__init__()
        self.hidden_size, self.zero_masked = hidden_size, zero_masked
        self.bidirectional = bidirectional
        self.reset_after = reset_after
        self.activation, self.recurrent_activation = activation, recurrent_activation
        rows = self.gates * hidden_size
        for suffix in ("_l0", "_l0_reverse")[: 2 if bidirectional else 1]:
            shapes = {"weight_ih": (rows, input_size), "weight_hh": (rows, hidden_size)}
            shapes.update(bias_ih=(rows,), bias_hh=(rows,))
            for name, shape in shapes.items():
                value = ops.zeros(shape, ms.float32)
                kept = has_bias or name.startswith("weight")
                setattr(self, name + suffix, Parameter(value) if kept else value)

    def construct(self, x, hx=None, mask=None):
        # The first axis alone may be indexed by a tensor: mask[:, t] is silently wrong.
        # Both directions share one loop: one that is called twice does not export.
        x = self.both(x.swapaxes(0, 1))
        mask = None if mask is None else self.both(mask.swapaxes(0, 1).expand_dims(2))
        weight_ih, weight_hh = self.weight_ih_l0, self.weight_hh_l0
        bias_ih, bias_hh = self.bias_ih_l0, self.bias_hh_l0
        if self.bidirectional:
            weight_ih = ops.stack([weight_ih, self.weight_ih_l0_reverse])
            weight_hh = ops.stack([weight_hh, self.weight_hh_l0_reverse])
            bias_ih = ops.stack([bias_ih, self.bias_ih_l0_reverse]).expand_dims(1)
            bias_hh = ops.stack([bias_hh, self.bias_hh_l0_reverse]).expand_dims(1)
        x = ops.matmul(x, weight_ih.swapaxes(-1, -2)) + bias_ih
        state = self.first(x[0], hx)
        y, state = self.run(x, state, mask, weight_hh.swapaxes(-1, -2), bias_hh)
        if not self.bidirectional:
            return y.swapaxes(0, 1), self.last(state)
        y = ops.cat([y[:, 0], ops.flip(y[:, 1], (0,))], -1)
        return y.swapaxes(0, 1), self.last(state)

    def both(self, x):
        return ops.stack([x, ops.flip(x, (0,))], 1) if self.bidirectional else x

    def run(self, x, state, mask, weight, bias):
        n = x.shape[0]
        outputs = ops.zeros_like(x[..., : self.hidden_size])
        output = outputs[0]
        t = ops.zeros((), ms.int64)
        while t < n:
            new = self.step(x[t], state, weight, bias)
            if mask is None:
                state = new
                output = new[0]
            else:
                before = ops.zeros_like(output) if self.zero_masked else output
                output = ops.where(mask[t], new[0], before)
                state = self.where(mask[t], new, state)
            outputs[t] = output
            t += 1
        return outputs, state

    def where(self, mask, new, old):
        return (ops.where(mask, new[0], old[0]),)

    def first(self, x, hx):
        if hx is None:
            return (ops.zeros_like(x[..., : self.hidden_size]),)
        return (hx if self.bidirectional else hx[0],)

    def last(self, state):
        return state[0] if self.bidirectional else state[0].expand_dims(0)


class RNN(Recurrent):
    """nn.RNN with any activation and any mask."""

    def step(self, x, state, weight, bias):
        return (self.activation(x + ops.matmul(state[0], weight) + bias),)


class GRU(Recurrent):
    """nn.GRU with any activations, any mask, and the reset gate in either place."""

    gates = 3

    def step(self, x, state, weight, bias):
        h = state[0]
        n = 2 * self.hidden_size
        gates = x[..., :n] + ops.matmul(h, weight[..., :n]) + bias[..., :n]
        r, z = ops.chunk(self.recurrent_activation(gates), 2, -1)
        if self.reset_after:
            new = r * (ops.matmul(h, weight[..., n:]) + bias[..., n:])
        else:
            new = ops.matmul(r * h, weight[..., n:]) + bias[..., n:]
        return ((1 - z) * self.activation(x[..., n:] + new) + z * h,)


class LSTM(Recurrent):
    """nn.LSTM with any activations and any mask."""

    gates = 4

    def where(self, mask, new, old):
        return ops.where(mask, new[0], old[0]), ops.where(mask, new[1], old[1])

    def first(self, x, hx):
        if hx is None:
            zeros = ops.zeros_like(x[..., : self.hidden_size])
            return zeros, zeros
        return (hx[0], hx[1]) if self.bidirectional else (hx[0][0], hx[1][0])

    def last(self, state):
        if self.bidirectional:
            return state[0], state[1]
        return state[0].expand_dims(0), state[1].expand_dims(0)

    def step(self, x, state, weight, bias):
        h, c = state[0], state[1]
        gates = x + ops.matmul(h, weight) + bias
        i, f, g, o = ops.chunk(gates, 4, -1)
        i, f = self.recurrent_activation(i), self.recurrent_activation(f)
        c = f * c + i * self.activation(g)
        return self.recurrent_activation(o) * self.activation(c), c


def hard_sigmoid(x):
    """Keras's before version 3: of slope 0.2."""
    return ops.clamp(0.2 * x + 0.5, 0.0, 1.0)


def softmax(x):
    """Over the last axis."""
    return ops.softmax(x, axis=-1)


def log_softmax(x):
    """Over the last axis."""
    return ops.log_softmax(x, axis=-1)


def leaky_relu(x):
    """Keras's activation of that name, of slope 0.2."""
    return ops.leaky_relu(x, 0.2)


def masked_mean(x, mask, keepdim=False):
    """The mean over time of the steps that the mask has."""
    mask = mask.expand_dims(2)
    total = ops.sum(ops.where(mask, x, ops.zeros_like(x)), 1, keepdim=keepdim)
    return total / ops.sum(mask.astype(x.dtype), 1, keepdim=keepdim)


def causal(query, key):
    """Which steps of key each step of query sees: those up to itself."""
    rows = ops.arange(query.shape[-2]).reshape(1, -1, 1)
    return rows >= ops.arange(key.shape[-2])


def attend(query, key, value, mask=None, heads=1, zero_masked=False):
    """Attention of heads that stand side by side: what it gives, and the weights.

    Where mask (batch, steps of query, steps of key) is False, a step is not seen;
    who sees none sees all alike, or nothing with zero_masked.
    """
    batch, steps, size = query.shape[0], query.shape[1], query.shape[2] // heads
    query = query.reshape(batch, steps, heads, size).swapaxes(1, 2)
    key = key.reshape(batch, key.shape[1], heads, size).swapaxes(1, 2)
    size = value.shape[2] // heads
    value = value.reshape(batch, value.shape[1], heads, size).swapaxes(1, 2)
    scores = ops.matmul(query, key.swapaxes(2, 3)) / query.shape[3] ** 0.5
    if mask is not None:
        scores = ops.where(mask.expand_dims(1), scores, -1e30)
    weights = ops.softmax(scores, axis=3)
    if zero_masked:
        weights = ops.where(mask.expand_dims(1), weights, 0.0)
    y = ops.matmul(weights, value).swapaxes(1, 2)
    return y.reshape(batch, steps, heads * size), weights


def scaled_dot_product_attention(query, key, value):
    """Attention over the last axis but one."""
    scores = ops.matmul(query, key.swapaxes(-2, -1)) / query.shape[-1] ** 0.5
    return ops.matmul(ops.softmax(scores, axis=-1), value)


def unit(x, axis):
    """x, of length one along an axis."""
    return x * ops.rsqrt(ops.maximum(ops.sum(x * x, axis, keepdim=True), 1e-24))


def hard_sigmoid_6(x):
    """Keras 3's: of slope 1/6."""
    return ops.clamp(x / 6 + 0.5, 0.0, 1.0)


def softplus(x):
    """log(1 + exp(x)), exactly for large x too."""
    return ops.maximum(x, ops.zeros_like(x)) + ops.log1p(ops.exp(-ops.abs(x)))


def log_sigmoid(x):
    """log(1 / (1 + exp(-x))), finite for large -x too, as ops.logsigmoid is not."""
    return -softplus(-x)


def mish(x):
    """x · tanh(log(1 + exp(x))), for large x too, where ops.mish is not a number."""
    e = ops.exp(ops.minimum(x, 20 * ops.ones_like(x)))
    return x * (e * (e + 2) / (e * (e + 2) + 2))


def tanh_shrink(x):
    """x - tanh(x)."""
    return x - ops.tanh(x)


def linear(x):
    """As it is."""
    return x


def pad(x, sides, value=0.0):  # ops.pad leaves no length known, and nn.GRU needs one
    for n, times in enumerate(sides):
        axis = x.ndim - 1 - n // 2
        if times:
            edge = ops.full_like(ops.narrow(x, axis, 0, 1), value)
            edge = ops.tile(edge, (1,) * axis + (times,) + (1,) * (n // 2))
            x = ops.cat([x, edge] if n % 2 else [edge, x], axis)
    return x
