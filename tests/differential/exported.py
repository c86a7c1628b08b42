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
    """Export a model, write its network for ``target``, and run both.

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
        right = [leaf.detach().numpy() for leaf in _leaves(model(*given))]
        torch.export.save(torch.export.export(model, tuple(given)), tmp / "m.pt2")
    except Exception as error:
        raise Void(f"not exported: {type(error).__name__}") from error
    if not all(np.isfinite(value).all() for value in right):
        raise Void("its own output is not finite")
    try:
        module, weights, _ = written(tmp / "m.pt2", target, tmp)
    except CkptconvError as error:
        return Outcome(Result.REFUSED, told(error), str(error))
    try:
        found = TARGETS[target](module, weights, [value.numpy() for value in given])
    except Exception as error:
        return Outcome(Result.SILENT, "a network that does not run", repr(error))
    return compared([found], [right], target)


def _leaves(value: Any) -> list[Any]:
    several = isinstance(value, tuple | list)
    return [leaf for one in flat(value) for leaf in _leaves(one)] if several else [value]
