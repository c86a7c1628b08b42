"""Keras's activations: a word, a function of the user's, or a layer with settings of its own.

Only a function of Keras's own is called by its bare name; what else a configuration holds is
spelled as it stands there (``own>tanh``, ``ReLU(max_value=0.3)``), and equals nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ckptconv.dialects.keras.model_config import Entry, entry, full_class

_SAME_AS_WORD: Mapping[str, tuple[str, Mapping[str, object]]] = {
    # class → the word for it, with these settings or none
    "ReLU": ("relu", {"max_value": None, "negative_slope": 0.0, "threshold": 0.0}),
    "Softmax": ("softmax", {"axis": -1}),
}
_COMMON = ("name", "trainable", "dtype")


def activation(value: object) -> str:
    """Return the name of an activation as a configuration has it; None is ``linear``."""
    if value is None:
        return "linear"
    if not isinstance(value, Mapping):
        return str(value)
    made = entry(value)
    if made is not None:
        return _layer(made)
    name, config = full_class(value), value.get("config")
    if value.get("class_name") != "function":
        return name
    package = full_class({**value, "class_name": str(config)})
    return str(config) if package == config else package


def _layer(made: Entry) -> str:
    """Return the word for a layer that does what the word says, else its class and settings."""
    said = {key: value for key, value in made.config.items() if key not in _COMMON}
    word, plain = _SAME_AS_WORD.get(made.class_name, ("", {}))
    if word and all(plain.get(key, ...) == value for key, value in said.items()):
        return word
    if made.class_name == "Activation":
        return activation(said.get("activation"))
    given = ", ".join(f"{key}={value!r}" for key, value in said.items() if _is_plain(value))
    return f"{made.class_name}({given})"


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str)
