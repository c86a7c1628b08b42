"""Cells for generated torch modules."""

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
        r, z = (self.recurrent_activation(gate) for gate in gates.chunk(2, dim=-1))
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
