"""The ways in which Keras's files come about."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
from keras.src.legacy.saving import legacy_h5_format

from tests.differential.outcome import Void


def _h5_weights(model: Any, path: Path) -> None:
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)


def _keras_2(model: Any, path: Path) -> None:
    """Save as Keras 2 did: classes by name alone, activations as words."""
    model.save(path)
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        file.attrs["model_config"] = json.dumps(_older(config))
        file.attrs["keras_version"] = "2.12.0"


def _older(value: Any) -> Any:
    if isinstance(value, list):
        return [_older(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {k: _older(v) for k, v in value.items() if k not in _LATER}
    if value.get("class_name") == "DTypePolicy":
        return "float32"
    if value.get("class_name") == "function":
        return value["config"]
    registered = value.get("registered_name")
    return kept | {"class_name": registered} if registered and "class_name" in value else kept


def _beside_configuration(way: str) -> tuple[str, Callable[[Any, Path], None]]:
    name, write = _PLAIN[way]

    def both(model: Any, path: Path) -> None:
        write(model, path)
        path.with_name(CONFIGURATION).write_text(model.to_json())

    return name, both


CONFIGURATION = "model.json"
_LATER = ("module", "registered_name", "build_config")

_PLAIN: Mapping[str, tuple[str, Callable[[Any, Path], None]]] = {
    # way → (the file's name, how it is written)
    "keras": ("m.keras", lambda model, path: model.save(path)),
    "h5": ("m.h5", lambda model, path: model.save(path)),
    "h5 weights": ("w.h5", _h5_weights),
    "weights.h5": ("m.weights.h5", lambda model, path: model.save_weights(path)),
    "sharded": (
        "m.weights.json",
        lambda model, path: model.save_weights(path, max_shard_size=1e-6),
    ),
    "keras 2 h5": ("m.h5", _keras_2),
}
_BESIDE = {f"{way}, model.json": way for way in ("h5 weights", "weights.h5", "sharded")}
WAYS = {**_PLAIN, **{name: _beside_configuration(way) for name, way in _BESIDE.items()}}
CONFIGURED = ("keras", "h5", "keras 2 h5", *_BESIDE)


def save(model: Any, way: str, folder: Path) -> Path:
    """Save a model and return the file.

    Raises:
        Void: Keras cannot save this model so.
    """
    name, write = WAYS[way]
    try:
        write(model, folder / name)
    except Exception as error:
        raise Void(f"not saved as {way}: {type(error).__name__}") from error
    return folder / name
