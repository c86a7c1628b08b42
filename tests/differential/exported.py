"""Models of torch, exported: their networks are written, and held against what torch computes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ckptconv import CkptconvError
from tests.differential.networks import TARGETS, compared
from tests.differential.outcome import Outcome, Result, Void
from tests.network.written import flat, written


def attempt(
    make: Callable[[], Any],
    given: Sequence[Any],
    target: str,
    tmp: Path,
    told: Callable[[CkptconvError], str] = lambda error: error.problem[:70],
) -> Outcome:
    """Export a model, write its network for ``target``, and run both, twice.

    Args:
        make: returns the model, with values that tell its weights apart.
        given: its inputs.
        told: what a refusal counts as.

    Raises:
        Void: torch cannot make, run or export the model, or its outputs are not finite.
    """
    import torch

    logging.getLogger("torch").setLevel(logging.CRITICAL)
    try:
        model = make()
        torch.export.save(torch.export.export(model, tuple(given)), tmp / "m.pt2")
        right = [_results(model, given) for _ in range(2)]  # which may change what it holds
    except Exception as error:
        raise Void(f"not exported: {type(error).__name__}") from error
    if not all(np.isfinite(value).all() for value in (*right[0], *right[1])):
        raise Void("its own output is not finite")
    try:
        module, weights, _ = written(tmp / "m.pt2", target, tmp)
    except CkptconvError as error:
        return Outcome(Result.REFUSED, told(error), str(error))
    try:
        found = TARGETS[target](module, weights, [value.numpy() for value in given])
    except Exception as error:
        return Outcome(Result.SILENT, "a network that does not run", repr(error))
    return compared([found, found], right, target)


def _results(model: Any, given: Sequence[Any]) -> list[Any]:
    return [leaf.detach().numpy() for leaf in _leaves(model(*(value.clone() for value in given)))]


def _leaves(value: Any) -> list[Any]:
    several = isinstance(value, tuple | list)
    return [leaf for one in flat(value) for leaf in _leaves(one)] if several else [value]
