"""Layers of a target framework, built from the text of a report and loaded strictly."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ckptconv.live.arrays import cell_array, torch_array
from tests.differential import keras_target
from tests.differential.outcome import Void

SUFFIX = {"torch": ".pt", "mindspore": ".ckpt", "mint": ".ckpt", "keras": ".h5"}
_NAMES = {
    # target → the names that its constructor calls use, and the modules they stand for
    "torch": {"nn": "torch.nn"},
    "mindspore": {"nn": "mindspore.nn"},
    "mint": {"nn": "mindspore.nn", "mint": "mindspore.mint"},
    "keras": {"layers": "keras.layers"},
}


class Unfit(Exception):  # noqa: N818
    """What the report says cannot be built, loaded or run as it says."""


def construct(text: str, target: str) -> list[Any]:
    """Return the layers of one ``constructor``: one, or several in a row.

    Raises:
        Unfit: the framework refuses the call.
    """
    scope = {name: importlib.import_module(module) for name, module in _NAMES[target].items()}
    try:
        made = eval(text, {"__builtins__": {}}, scope)
    except Exception as error:
        raise Unfit(f"the call does not run: {type(error).__name__}: {error}: {text}") from error
    return made if isinstance(made, list) else [made]


def loaded(path: Path, target: str) -> dict[str, np.ndarray]:
    """Return name → values of a target file, as its own framework reads it."""
    if target == "torch":
        import torch

        return {k: torch_array(v) for k, v in torch.load(path, weights_only=True).items()}
    if target == "keras":
        return keras_target.loaded(path)
    import mindspore as ms

    stored = "safetensors" if path.suffix == ".safetensors" else "ckpt"
    found = ms.load_checkpoint(str(path), format=stored)
    return {name: cell_array(value) for name, value in found.items()}


def load(layers: list[Any], weights: Mapping[str, np.ndarray], target: str) -> None:
    """Put weights (by names below the layer) into the one layer that has any; all must fit.

    Raises:
        Unfit: a name or shape is missing, too many or other.
    """
    try:
        if target == "torch":
            _load_torch(layers, weights)
        else:
            _load_mindspore(layers, weights)
    except (RuntimeError, ValueError, TypeError) as error:
        raise Unfit(f"does not load strictly: {error}") from error


def _load_torch(layers: list[Any], weights: Mapping[str, np.ndarray]) -> None:
    import torch

    state = {name: torch.from_numpy(np.array(value)) for name, value in weights.items()}
    holders = [layer for layer in layers if layer.state_dict()] or layers[:1]
    for layer in holders:
        layer.load_state_dict(state, strict=True)
    for layer in layers:
        layer.eval()


def _load_mindspore(layers: list[Any], weights: Mapping[str, np.ndarray]) -> None:
    import mindspore as ms

    for layer in [made for made in layers if made.parameters_dict()] or layers[:1]:
        held = ms.nn.SequentialCell([layer])  # parameters have their attributes' names inside one
        loaded = {f"0.{n}": ms.Parameter(ms.Tensor(v), name=f"0.{n}") for n, v in weights.items()}
        shapes = {p.name: tuple(p.shape) for p in held.get_parameters()}
        wrong = [n for n in shapes.keys() & loaded if shapes[n] != tuple(loaded[n].shape)]
        result = ms.load_param_into_net(held, loaded, strict_load=True)
        if wrong or result != ([], []):
            raise ValueError(f"{result}, shapes of {wrong}")
    for layer in layers:
        layer.set_train(False)


def run(layers: list[Any], given: list[Any], target: str) -> np.ndarray:
    """Run layers one after the other; of several outputs the first counts.

    Raises:
        Unfit: the framework refuses the input.
    """
    try:
        if target == "torch":
            import torch

            value: Any = [torch.from_numpy(np.array(g)) if g is not None else g for g in given]
            with torch.no_grad():
                return np.asarray(_chain(layers, value).numpy())
        import mindspore as ms

        return np.asarray(_chain(layers, [ms.Tensor(np.array(g)) for g in given]).asnumpy())
    except Exception as error:
        text = str(error).strip().splitlines()[0][:200] if str(error).strip() else ""
        if "kernelmod" in text or "unregistered" in str(error):
            raise Void("the target has no such kernel on this machine") from error
        raise Unfit(f"does not run: {type(error).__name__}: {text}") from error


def _chain(layers: list[Any], value: list[Any]) -> Any:
    for layer in layers:
        result = layer(*value)
        value = [result[0] if isinstance(result, tuple | list) else result]
    return value[0]


def difference(found: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest difference in units of max(1, largest value); inf for another shape."""
    if found.shape != expected.shape:
        return float("inf")
    if not expected.size:
        return 0.0
    scale = max(1.0, float(np.abs(expected).max()))
    gap = np.abs(found.astype("f8") - expected.astype("f8")).max() / scale
    return float("inf") if np.isnan(gap) else float(gap)
