"""Parametrizations of a weight: torch's own, old and new, stacked, and a user's."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from random import Random
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune


class OwnPair(nn.Module):
    """A user's parametrization into two tensors of the shapes that weight_norm has."""

    def forward(self, scale: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
        return scale * direction

    def right_inverse(self, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.ones(weight.shape[0], *[1] * (weight.dim() - 1)), weight


class Doubled(nn.Module):
    """A user's parametrization without parameters."""

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return 2 * weight


def _quiet(function: Callable[..., Any]) -> Callable[..., Any]:
    def apply(*args: Any, **options: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return function(*args, **options)

    return apply


_old_weight, _old_spectral = _quiet(nn.utils.weight_norm), _quiet(nn.utils.spectral_norm)


def _stacked(module: nn.Module, name: str, _: Random) -> None:
    parametrizations.weight_norm(module, name)
    parametrize.register_parametrization(module, name, Doubled())


def _doubled_spectral(module: nn.Module, name: str, _: Random) -> None:
    parametrizations.spectral_norm(module, name)
    parametrize.register_parametrization(module, name, Doubled())


def _pruned_old(module: nn.Module, name: str, _: Random) -> None:
    _old_weight(module, name)
    prune.random_unstructured(module, f"{name}_v", amount=0.4)


def _dim(rng: Random) -> dict[str, int]:
    return rng.choice([{}, {}, {"dim": 0}, {"dim": 1}])


ALTERATIONS: dict[str, Callable[[nn.Module, str, Random], Any]] = {
    "weight_norm old": lambda m, n, rng: _old_weight(m, n, **_dim(rng)),
    "weight_norm": lambda m, n, rng: parametrizations.weight_norm(m, n, **_dim(rng)),
    "spectral_norm old": lambda m, n, rng: _old_spectral(m, n, **_dim(rng)),
    "spectral_norm": lambda m, n, rng: parametrizations.spectral_norm(m, n, **_dim(rng)),
    "pruned": lambda m, n, _: prune.random_unstructured(m, n, amount=0.4),
    "stacked": _stacked,
    "stacked spectral": _doubled_spectral,
    "own pair": lambda m, n, _: parametrize.register_parametrization(m, n, OwnPair()),
    "own": lambda m, n, _: parametrize.register_parametrization(m, n, Doubled()),
    "pruned weight_norm": _pruned_old,
}


def alter(module: nn.Module, how: str, rng: Random) -> None:
    """Parametrize one weight of two or more axes."""
    names = [n for n, p in module.named_parameters(recurse=False) if p.dim() > 1]
    if names:
        ALTERATIONS[how](module, rng.choice(names), rng)


def _tied(model: nn.Module, rng: Random) -> None:
    """Make one parameter of two of equal shape, wherever they stand."""
    places = [(m, n, p) for m in model.modules() for n, p in m._parameters.items() if p is not None]
    module, name, one = rng.choice(places)
    others = [place for place in places if place[2].shape == one.shape and place[2] is not one]
    if others:
        setattr(module, name, rng.choice(others)[2])


def _scattered(model: nn.Module, _: Random) -> None:
    """Let matrices lie in memory by columns."""
    for parameter in model.parameters():
        if parameter.dim() == 2:
            parameter.data = parameter.data.T.contiguous().T


TWISTS: dict[str, Callable[[nn.Module, Random], Any]] = {
    "": lambda _, __: None,
    "tied": _tied,
    "scattered": _scattered,
    "float16": lambda model, _: model.half(),
    "bfloat16": lambda model, _: model.bfloat16(),
    "float64": lambda model, _: model.double(),
    "mixed": lambda model, rng: rng.choice([*model.modules()]).double(),
}
"""What a user does to the tensors of a model."""
