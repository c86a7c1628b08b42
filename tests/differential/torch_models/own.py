"""Classes of a user's own, whose parameters look like those of torch's layers."""

from __future__ import annotations

import torch
from torch import nn


class Conv1D(nn.Module):
    """y = x W + b, as GPT-2 has it: the weight is (in, out)."""

    def __init__(self, i: int, o: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(i, o))
        self.bias = nn.Parameter(torch.zeros(o))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.weight + self.bias


class Turned(nn.Linear):
    """A subclass of nn.Linear that computes y = x W."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.weight + self.bias


class Scale(nn.Module):
    """LayerScale, FiLM: parameters called as MindSpore calls those of norms."""

    def __init__(self, n: int, *names: str) -> None:
        super().__init__()
        for name in names:
            self.register_parameter(name, nn.Parameter(torch.ones(n)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for value in self.parameters():
            x = x * value
        return x


class OwnCell(nn.Module):
    """A cell of the user's: peepholes, one bias, minimal gates, independent states."""

    def __init__(self, i: int, h: int, style: str) -> None:
        super().__init__()
        gates = {"mgu": 2, "indrnn": 1}.get(style, 4)
        self.weight_ih = nn.Parameter(torch.zeros(gates * h, i))
        self.weight_hh = nn.Parameter(torch.zeros(*((h,) if style == "indrnn" else (gates * h, h))))
        if style == "one bias":
            self.bias = nn.Parameter(torch.zeros(gates * h))
        else:
            self.bias_ih = nn.Parameter(torch.zeros(gates * h))
            self.bias_hh = nn.Parameter(torch.zeros(gates * h))
        if style == "peephole":
            self.weight_ch = nn.Parameter(torch.zeros(3 * h))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.weight_ih.T


class OwnLSTM(nn.LSTM):
    """A subclass of nn.LSTM that has more than one, and computes otherwise."""

    def __init__(self, i: int, h: int, style: str) -> None:
        super().__init__(i, h, batch_first=True)
        if style == "normed":
            self.norm = nn.LayerNorm(4 * h)
        else:
            self.weight_ch_l0 = nn.Parameter(torch.zeros(3 * h))

    def forward(self, x: torch.Tensor, *_: object) -> torch.Tensor:
        return x @ self.weight_ih_l0.T


class NormedCell(nn.LSTMCell):
    """A subclass of nn.LSTMCell that normalises its gates."""

    def __init__(self, i: int, h: int) -> None:
        super().__init__(i, h)
        self.norm_ih, self.norm_hh = nn.LayerNorm(4 * h), nn.LayerNorm(4 * h)

    def forward(self, x: torch.Tensor, *_: object) -> torch.Tensor:
        return x @ self.weight_ih.T
