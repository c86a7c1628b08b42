"""Cells for generated MindSpore modules."""

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
        r, z = ops.chunk(gates, 2, -1)
        r, z = self.recurrent_activation(r), self.recurrent_activation(z)
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


class RMSNorm(nn.Cell):
    """torch's nn.RMSNorm: over the last axes, as many as shape has."""

    def __init__(self, shape, epsilon):
        super().__init__()
        self.weight = Parameter(ops.ones(shape, ms.float32))
        self.axes, self.epsilon = tuple(range(-len(shape), 0)), epsilon

    def construct(self, x):
        squares = ops.mean(ops.square(x), self.axes, keep_dims=True)
        return x * ops.rsqrt(squares + self.epsilon) * self.weight
