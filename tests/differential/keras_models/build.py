"""A drawn model built in Keras, its weights filled, every layer's call on one input recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from keras import layers

from tests.differential.keras_models import customs
from tests.differential.keras_models.spec import BATCH, Plan, Spec
from tests.differential.outcome import Void

_JOINING = ("again", "parallel", "residual", "cross", "self", "pair")


class Net(keras.Model):
    """A subclassed model: layers under attributes, no config to speak of."""

    def __init__(self, chain: list[Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.first = chain[0][0]
        self.rest = [layer for layer, _ in chain[1:]]
        self._uses = [use for _, use in chain]

    def call(self, x: Any) -> Any:
        for layer, use in zip([self.first, *self.rest], self._uses, strict=True):
            x = use(layer, x)
        return x


def build(plan: Plan) -> Any:
    """Return the Keras model of a plan.

    Raises:
        Void: Keras does not take these layers together.
    """
    try:
        return _model(plan.model, keras.Input(plan.shape, dtype="int32" if plan.tokens else None))
    except Exception as error:
        raise Void(f"not built: {type(error).__name__}") from error


def _model(spec: Spec, given: Any) -> Any:
    """Return a model; ``given`` is a symbolic tensor of its input's shape and dtype."""
    steps: list[Spec] = spec.options["layers"]
    name = {"name": spec.options["name"]} if "name" in spec.options else {}
    joins = any(step.name in _JOINING for step in steps)
    if spec.name == "Subclassed":
        chain = [(_layer(s), _apply) for s in steps if s.name not in (*_JOINING, *_MODELS)]
        net = Net(chain, **name) if chain else None
        if net is None:
            raise ValueError("no layers")
        net(np.zeros((BATCH, *given.shape[1:]), "int32" if given.dtype == "int32" else "f4"))
        return net
    if spec.name == "Sequential" and not joins:
        model = keras.Sequential([keras.Input(given.shape[1:], dtype=given.dtype)], **name)
        for step in steps:
            before = model.outputs[0] if model.layers else given
            model.add(_nested(step, before) if step.name in _MODELS else _layer(step))
        return model
    entry = keras.Input(given.shape[1:], dtype=given.dtype)
    x, made = entry, []
    for step in steps:
        x = _step(step, x, made)
    return keras.Model(entry, x, **name)


_MODELS = ("Sequential", "Functional")


def _nested(step: Spec, x: Any) -> Any:
    return _model(step, x)


def _step(step: Spec, x: Any, made: list[Any]) -> Any:
    if step.name in _MODELS:
        return _nested(step, x)(x)
    if step.name == "again":
        if not made:
            return x
        return made[step.options["index"] % len(made)](x)
    if step.name in ("parallel", "residual"):
        sides = [_layer(side) for side in step.options["layers"]]
        if step.name == "parallel":
            return layers.Concatenate()([side(x) for side in sides])
        return layers.Concatenate()([x, sides[1](sides[0](x))])
    if step.name in ("cross", "self", "pair"):
        value, key = layers.Rescaling(0.5, offset=0.2)(x), layers.UnitNormalization()(x)
        layer = _layer(step.options["layer"])
        if step.name == "pair":
            return layer([x, value])
        return layer(x, value, key) if step.name == "cross" else layer(x, x)
    layer = _layer(step)
    made.append(layer)
    return layer(x)


def _apply(layer: Any, x: Any) -> Any:
    return layer(x)


def _layer(spec: Spec) -> Any:
    options = {key: _value(value) for key, value in spec.options.items()}
    if spec.name == "own>tanh":
        return customs.tanh
    found = customs.CLASSES.get(spec.name) or getattr(layers, spec.name)
    return found(**options)


def _value(value: Any) -> Any:
    if isinstance(value, list) and any(isinstance(item, Spec) for item in value):
        return [_layer(item) for item in value]
    return _layer(value) if isinstance(value, Spec) else value


def fill(model: Any, seed: int) -> None:
    """Give every weight distinct values that no permutation leaves alone."""
    rng = np.random.default_rng(seed)
    for variable in model.variables:
        if "int" in variable.dtype or "seed" in variable.path:
            continue
        noise = rng.normal(size=variable.shape) * 0.3
        positive = variable.name in (
            *("gamma", "scale", "moving_variance", "kernel_scale", "variance"),
        )
        variable.assign((np.abs(noise) + 0.6 if positive else noise + 0.07).astype("f4"))
    for layer in model._flatten_layers():
        if hasattr(layer, "finalize_state"):
            layer.finalize_state()  # a Normalization computes with copies


@dataclass
class Calls:
    """What a layer was called with and gave, in order."""

    given: list[tuple[tuple[Any, ...], dict[str, Any]]] = field(default_factory=list)
    made: list[Any] = field(default_factory=list)


@contextmanager
def recording() -> Iterator[dict[int, Calls]]:
    """Record every call of a layer, by the layer's id."""
    from keras.src.layers.layer import Layer

    calls: dict[int, Calls] = {}
    original: Callable[..., Any] = Layer.__call__

    def recorded(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(self, *args, **kwargs)
        entry = calls.setdefault(id(self), Calls())
        entry.given.append((_arrays(args), _arrays(kwargs)))
        entry.made.append(_arrays(result))
        return result

    Layer.__call__ = recorded
    try:
        yield calls
    finally:
        Layer.__call__ = original


def _arrays(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _arrays(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return tuple(_arrays(item) for item in value)
    if hasattr(value, "detach"):
        return value.detach().numpy().copy()
    return value


def example(plan: Plan, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed + 1)
    if plan.tokens:
        return rng.integers(1, 7, size=(BATCH, *plan.shape)).astype("int32")
    return (rng.normal(size=(BATCH, *plan.shape)) * 0.7 + 0.1).astype("f4")
