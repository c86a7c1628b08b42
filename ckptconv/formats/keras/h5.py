"""Keras weights in HDF5: the legacy layout and ``.weights.h5``, by any Keras since 1.x.

Source of the layouts: Keras's ``legacy/saving/legacy_h5_format.py`` and ``saving/saving_lib.py``.

- *legacy*: ``@layer_names`` at the root or in ``/model_weights``; in each layer's group
  ``@weight_names``, the paths of its datasets. Names here: ``<layer>/<weight name>``.
- *weights.h5*: groups along the objects' attributes, ``layers/lstm/cell/vars/0``; that path,
  without the ``_layer_checkpoint_dependencies`` of TensorFlow up to 2.14, is the name here.

What else a file says stands in ``Checkpoint.facts``, a ``KerasFacts``.
"""

from __future__ import annotations

import re

from ckptconv.checkpoint import Checkpoint, KerasFacts, Layout
from ckptconv.codecs.hdf5.datasets import tensor
from ckptconv.codecs.hdf5.file import H5File, Object, find_signature
from ckptconv.codecs.hdf5.groups import is_dataset, walk
from ckptconv.codecs.hdf5.types import texts
from ckptconv.codecs.json import parse
from ckptconv.errors import ContainerError, listed
from ckptconv.formats.keras.h5_writer import TOP_LEVEL, write
from ckptconv.io.reader import Source
from ckptconv.tensors.tensor import Tensor

__all__ = ["read", "sniff", "write"]

_NUMBERS = re.compile(r"([0-9]{1,18})")
_OLD_ROOT = "_layer_checkpoint_dependencies/"
_LEFT_OUT = {
    "optimizer": "optimizer state",
    "optimizer_weights": "optimizer state",
    "metrics": "state of a metric",
}
"""Groups at the root that hold no weights."""
_SEED = "state of a random generator"


def sniff(source: Source) -> bool:
    """Tell whether HDF5's signature stands at the beginning or after a user block."""
    return find_signature(source) is not None


def read(source: Source, *, select: str | None = None) -> Checkpoint:  # noqa: ARG001
    """Read names, shapes and what the file says of its model.

    Raises:
        ContainerError: HDF5 that is not Keras's, a link to elsewhere, a weight that is named and
            missing, values outside the file, an unknown dtype or filter, damage of any kind.
    """
    file = H5File(source)
    objects = dict(walk(file))
    attributes = {path: texts(file, m) for path, m in objects.items() if not is_dataset(m)}
    for layout in (_legacy, _weights):
        checkpoint = layout(file, objects, attributes)
        if checkpoint is not None:
            return checkpoint
    raise ContainerError(
        "HDF5, but not weights of a Keras model",
        file=source.path,
        expected="@layer_names, or groups named 'vars'",
        found=listed(sorted(p for p in objects if p), 6) or "an empty file",
        hint="the file that Keras's save or save_weights wrote; what another program wrote is read "
        "once its arrays are saved as .safetensors, under the names of a state_dict",
    )


Attributes = dict[str, dict[str, list[str]]]


def _legacy(file: H5File, objects: dict[str, Object], attributes: Attributes) -> Checkpoint | None:
    root = next(
        (p for p in ("", "model_weights") if _listed(attributes.get(p), "layer_names")), None
    )
    if root is None:
        return None
    prefix = f"{root}/" if root else ""
    layers = _listed(attributes[root], "layer_names") or []
    weights: dict[str, tuple[str, ...]] = {}
    tensors: dict[str, Tensor] = {}
    for layer in [*layers, *([TOP_LEVEL] if prefix + TOP_LEVEL in attributes else [])]:
        names = _listed(attributes.get(prefix + layer), "weight_names")
        if names is None or layer in weights:
            raise ContainerError(
                "a layer of @layer_names",
                file=file.path,
                tensor=layer,
                expected="one group with @weight_names",
                found="none" if names is None else "a repeated name",
            )
        weights[layer] = tuple(names)
        for name in names:
            _take(file, objects, prefix, f"{layer}/{name}", tensors)
    facts = _facts(file, attributes, root, "legacy")._replace(weights=weights)
    omitted = {
        path: _LEFT_OUT.get(path.split("/", 1)[0], "not in any @weight_names")
        for path in _datasets(objects)
        if path.removeprefix(prefix) not in tensors
    }
    return Checkpoint("hdf5", tensors, facts=facts, omitted=omitted)


def _weights(file: H5File, objects: dict[str, Object], attributes: Attributes) -> Checkpoint | None:
    if not any(path.rpartition("/")[2] == "vars" for path in attributes):
        return None
    names: dict[str, str] = {}
    tensors: dict[str, Tensor] = {}
    omitted: dict[str, str] = {}
    for path, texts_ in attributes.items():
        if path.endswith("/vars") and texts_.get("name"):
            names[path.removesuffix("/vars").removeprefix(_OLD_ROOT)] = texts_["name"][0]
    for path in sorted(_datasets(objects), key=natural):
        prefix = _OLD_ROOT if path.startswith(_OLD_ROOT) else ""
        name = path.removeprefix(prefix)
        rule = _LEFT_OUT.get(name.split("/", 1)[0])
        if rule is None:
            _take(file, objects, prefix, name, tensors)
            rule = _SEED if _is_seed(name, tensors[name]) else None
        if rule is not None:
            tensors.pop(name, None)
            omitted[name] = rule
    facts = _facts(file, attributes, "", "weights.h5")._replace(names=names)
    return Checkpoint("hdf5", tensors, facts=facts, omitted=omitted)


def _is_seed(name: str, values: Tensor) -> bool:
    """Tell the two numbers of a SeedGenerator from weights of a layer that is called like one."""
    return (
        "seed_generator" in name.split("/") and values.shape == (2,) and values.dtype.kind in "iu"
    )


def _take(
    file: H5File, objects: dict[str, Object], prefix: str, name: str, tensors: dict[str, Tensor]
) -> None:
    messages = objects.get(prefix + name)
    if messages is None or not is_dataset(messages) or name in tensors:
        found = "a repeated name" if name in tensors else "none"
        raise ContainerError(
            "a weight that the file names",
            file=file.path,
            tensor=name,
            expected="one dataset",
            found=found,
        )
    tensors[name] = tensor(file, messages, name)


def _facts(file: H5File, attributes: Attributes, root: str, layout: Layout) -> KerasFacts:
    said: dict[str, list[str]] = {**attributes[root], **attributes[""]}
    version, backend, config = (
        (said.get(key) or [""])[0] for key in ("keras_version", "backend", "model_config")
    )
    parsed = parse(config, file.path, "model_config") if config else None
    return KerasFacts(layout, parsed, version, backend)


def _datasets(objects: dict[str, Object]) -> list[str]:
    return [path for path, messages in objects.items() if is_dataset(messages)]


def _listed(said: dict[str, list[str]] | None, name: str) -> list[str] | None:
    """Return a list attribute; Keras splits those over 64512 bytes into ``name0``, ``name1``, …"""
    if said is None:
        return None
    if name in said:
        return said[name]
    parts: list[str] = []
    count = 0
    while f"{name}{count}" in said:
        parts += said[f"{name}{count}"]
        count += 1
    return parts if count else None


def natural(path: str) -> list[list[tuple[int, str]]]:
    """Return a key that sorts ``lstm_10`` after ``lstm_9``, path component by component."""
    return [
        [(int(s), "") if i % 2 else (-1, s) for i, s in enumerate(_NUMBERS.split(part)) if s]
        for part in path.split("/")
    ]
