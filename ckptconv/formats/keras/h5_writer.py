"""Writing Keras weights in HDF5: h5py lays the file out, the values are streamed into place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ckptconv.checkpoint import Checkpoint, KerasFacts
from ckptconv.errors import ContainerError
from ckptconv.tensors.regions import DType
from ckptconv.tensors.tensor import BFLOAT16, Tensor
from ckptconv.tensors.writer import Progress, open_sink

if TYPE_CHECKING:
    import h5py

Tensors = Mapping[str, Tensor]
TOP_LEVEL = "top_level_model_weights"
"""A group of weights that belong to no layer; it stands in no ``layer_names``."""
_MAX_ATTRIBUTE = 64512
"""What Keras lets one attribute hold; an object header has room for 64 KiB."""


def write(checkpoint: Checkpoint, path: str, progress: Progress | None = None) -> None:
    """Write the layout that ``checkpoint.facts`` asks for (see ``h5``).

    The legacy layout needs ``facts.weights`` and loads in every Keras since 2.3; ``weights.h5``
    loads in Keras 3 and tf_keras, and takes ``facts.names``. The bytes depend on nothing but the
    checkpoint and HDF5's version.

    Raises:
        ContainerError: names that do not fit together, or that one attribute cannot hold.
    """
    import h5py

    facts = facts_of(checkpoint)
    with h5py.File(path, "w", libver="earliest", locking=False) as file:
        try:
            offsets = _LAYOUTS[facts.layout](file, checkpoint.tensors, facts)
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise ContainerError("names that HDF5 cannot hold", found=error) from None
    with open_sink(path, progress) as sink:
        for name, offset in sorted(offsets.items(), key=lambda item: item[1]):
            sink.seek(offset)
            sink.write_tensor(checkpoint.tensors[name])


def facts_of(checkpoint: Checkpoint) -> KerasFacts:
    """Return what a checkpoint of this family says beside its weights.

    Raises:
        ContainerError: another family's.
    """
    if not isinstance(checkpoint.facts, KerasFacts):
        raise ContainerError("not a checkpoint of Keras", expected="KerasFacts")
    return checkpoint.facts


def _legacy(file: h5py.File, tensors: Tensors, facts: KerasFacts) -> dict[str, int]:
    reserve = _Reserver()
    file.attrs["backend"] = np.bytes_(facts.backend or "tensorflow")
    file.attrs["keras_version"] = np.bytes_(facts.keras_version or "2.15.0")
    _write_list(file, "layer_names", [name for name in facts.weights if name != TOP_LEVEL])
    offsets: dict[str, int] = {}
    for layer, weights in facts.weights.items():
        group = file.create_group(layer)
        _write_list(group, "weight_names", list(weights))
        for weight in weights:
            name = f"{layer}/{weight}"
            offsets |= reserve(group, weight, name, tensors[name])
    _require_all(tensors, (f"{a}/{b}" for a, w in facts.weights.items() for b in w))
    return offsets


def _weights(file: h5py.File, tensors: Tensors, facts: KerasFacts) -> dict[str, int]:
    offsets: dict[str, int] = {}
    reserve = _Reserver()
    for name, tensor in tensors.items():
        offsets |= reserve(file, name, name, tensor)
    file.require_group("vars")  # Keras up to 3.3 and tf_keras want it
    for path, name in facts.names.items():
        file.require_group(f"{path}/vars").attrs["name"] = name
    return offsets


_LAYOUTS = {"legacy": _legacy, "weights.h5": _weights}


class _Reserver:
    """Creates empty contiguous datasets; each call of h5py's own interface costs five of these."""

    def __init__(self) -> None:
        from h5py import h5d, h5p, h5s, h5t

        self._d, self._s, self._t = h5d, h5s, h5t
        self._links, self._creation = h5p.create(h5p.LINK_CREATE), h5p.create(h5p.DATASET_CREATE)
        self._links.set_create_intermediate_group(True)
        self._creation.set_layout(h5d.CONTIGUOUS)
        self._creation.set_alloc_time(h5d.ALLOC_TIME_EARLY)
        self._creation.set_fill_time(h5d.FILL_TIME_NEVER)
        self._creation.set_obj_track_times(False)
        self._types: dict[DType, Any] = {}

    def __call__(self, group: h5py.Group, path: str, name: str, tensor: Tensor) -> dict[str, int]:
        """Return {name: where its values go} if it has any.

        Raises:
            ContainerError: a dtype that HDF5 or Keras does not have.
        """
        kind = self._types.get(tensor.dtype)
        if kind is None:
            kind = self._types[tensor.dtype] = self._type(tensor.dtype, name)
        shape = tensor.shape
        space = self._s.create_simple(shape) if shape else self._s.create(self._s.SCALAR)
        made = self._d.create(
            group.id, path.encode(), kind, space, self._creation, lcpl=self._links
        )
        if tensor.dtype == BFLOAT16:
            group[path].attrs["dtype"] = "bfloat16"
        return {name: made.get_offset()} if tensor.nbytes else {}

    def _type(self, dtype: DType, name: str) -> Any:
        if not issubclass(dtype.type, np.integer | np.floating) and dtype != BFLOAT16:
            raise ContainerError("cannot stand in an HDF5 file", tensor=name, found=dtype.name)
        stored = np.dtype("V2") if dtype == BFLOAT16 else dtype
        return self._t.py_create(stored, logical=True)


def _write_list(group: h5py.Group, name: str, values: list[str]) -> None:
    """Write a list of strings, split as Keras does where one attribute cannot hold it."""
    from h5py import h5a, h5s, h5t

    array: Any = np.array([value.encode() for value in values], "S" if values else "S1")
    if array.itemsize > _MAX_ATTRIBUTE:
        raise ContainerError("a name is too long for HDF5", tensor=max(values, key=len)[:100])
    count, parts = 1, [array]
    while any(part.nbytes > _MAX_ATTRIBUTE for part in parts):
        count += 1
        parts = np.array_split(array, count)
    for i, part in enumerate(parts):
        kind, space = h5t.py_create(part.dtype, logical=True), h5s.create_simple(part.shape)
        attribute = h5a.create(
            group.id, (f"{name}{i}" if count > 1 else name).encode(), kind, space
        )
        if part.size:
            attribute.write(part)


def _require_all(tensors: Tensors, written: Iterable[str]) -> None:
    if left := tensors.keys() - set(written):
        raise ContainerError("belongs to no layer", tensor=min(left))
