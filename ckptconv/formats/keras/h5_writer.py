"""Writing Keras weights in HDF5: h5py lays the file out, the values are streamed into place."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from ckptconv.checkpoint import Checkpoint, KerasFacts
from ckptconv.errors import ContainerError
from ckptconv.spelling import option
from ckptconv.tensors.dtypes import DType, is_bfloat16
from ckptconv.tensors.lazy import np
from ckptconv.tensors.tensor import Tensor
from ckptconv.tensors.writer import Progress, open_sink

if TYPE_CHECKING:
    import h5py

Tensors = Mapping[str, Tensor]
TOP_LEVEL = "top_level_model_weights"
"""A group of weights that belong to no layer; it stands in no ``layer_names``."""
_NUMBER = re.compile(r"\berrno = (\d+)")
"""That of an error of the system, in HDF5's words."""
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
    facts = facts_of(checkpoint)
    with _created(path) as file:
        _require_paths((*checkpoint.tensors, *facts.weights, *facts.names))
        maker = _Maker(file)
        try:
            _LAYOUTS[facts.layout](maker, checkpoint.tensors, facts)
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            known = ContainerError("names that HDF5 cannot hold", found=error)
            raise _of_the_system(error) or known from None
    with open_sink(path, progress) as sink:
        for name, offset in sorted(maker.offsets.items(), key=itemgetter(1)):
            if checkpoint.tensors[name].nbytes:
                sink.seek(offset)
                sink.write_tensor(checkpoint.tensors[name])


@contextmanager
def _created(path: str) -> Iterator[h5py.File]:
    """Yield a new file, which can still fail to be written when it is closed."""
    import h5py

    try:
        with h5py.File(path, "w", libver="earliest", locking=False) as file:
            yield file
    except RuntimeError as error:
        raise _of_the_system(error) or error from None


def _of_the_system(error: Exception) -> OSError | None:
    """Return the error of the system that HDF5's own tells of, such as that of a full disk."""
    found = _NUMBER.search(str(error))
    return OSError(int(found[1]), os.strerror(int(found[1]))) if found else None


def facts_of(checkpoint: Checkpoint) -> KerasFacts:
    """Return what a checkpoint of this family says beside its weights.

    Raises:
        ContainerError: another family's.
    """
    if not isinstance(checkpoint.facts, KerasFacts):
        raise ContainerError("not a checkpoint of Keras", expected="KerasFacts")
    return checkpoint.facts


def _legacy(maker: _Maker, tensors: Tensors, facts: KerasFacts) -> None:
    maker.file.attrs["backend"] = np.bytes_(facts.backend or "tensorflow")
    maker.file.attrs["keras_version"] = np.bytes_(facts.keras_version or "2.15.0")
    maker.texts(maker.root, "layer_names", [name for name in facts.weights if name != TOP_LEVEL])
    for layer, weights in facts.weights.items():
        group = maker.group(layer)
        maker.texts(group, "weight_names", list(weights))
        for weight in weights:
            name = f"{layer}/{weight}"
            _require_loadable(name, tensors[name])
            maker.dataset(group, weight, name, tensors[name])
    if left := tensors.keys() - maker.offsets.keys():
        raise ContainerError("belongs to no layer", tensor=min(left))


def _weights(maker: _Maker, tensors: Tensors, facts: KerasFacts) -> None:
    for name, tensor in tensors.items():
        maker.dataset(maker.root, name, name, tensor)
    there = {name.rpartition("/")[0] for name in tensors}
    for path in ["", *facts.names]:  # Keras up to 3.3 and tf_keras want vars at the root too
        place = f"{path}/vars".lstrip("/")
        group = maker.opened(place) if place in there else maker.group(place)
        if path:
            maker.text(group, "name", facts.names[path])


_LAYOUTS = {"legacy": _legacy, "weights.h5": _weights}


class _Maker:
    """Creates groups, empty contiguous datasets and their attributes.

    Each call of h5py's own interface costs five of these.

    Attributes:
        offsets: name → where the values of its dataset go.
    """

    def __init__(self, file: h5py.File) -> None:
        from h5py import h5a, h5d, h5g, h5p, h5s, h5t, string_dtype

        self.file, self.root = file, file.id
        self.offsets: dict[str, int] = {}
        self._a, self._d, self._g, self._s, self._t = h5a, h5d, h5g, h5s, h5t
        self._links, self._creation = h5p.create(h5p.LINK_CREATE), h5p.create(h5p.DATASET_CREATE)
        self._links.set_create_intermediate_group(True)
        self._wide = self._links.copy()
        self._wide.set_char_encoding(h5t.CSET_UTF8)
        self._grouping = h5p.create(h5p.GROUP_CREATE)
        self._grouping.set_obj_track_times(False)
        self._creation.set_layout(h5d.CONTIGUOUS)
        self._creation.set_alloc_time(h5d.ALLOC_TIME_EARLY)
        self._creation.set_fill_time(h5d.FILL_TIME_NEVER)
        self._creation.set_obj_track_times(False)
        self._types: dict[DType, Any] = {}
        self._spaces: dict[tuple[int, ...], Any] = {(): h5s.create(h5s.SCALAR)}
        self._string = string_dtype()
        self._stored, self._given = (
            h5t.py_create(self._string, logical=True),
            h5t.py_create(self._string),
        )

    def group(self, path: str) -> Any:
        """Create a group."""
        links = self._links if path.isascii() else self._wide
        return self._g.create(self.root, path.encode(), lcpl=links, gcpl=self._grouping)

    def opened(self, path: str) -> Any:
        """Open a group that is there."""
        return self._g.open(self.root, path.encode())

    def dataset(self, group: Any, path: str, name: str, tensor: Tensor) -> None:
        """Create a dataset; where its values go is kept.

        Raises:
            ContainerError: a dtype that HDF5 or Keras does not have.
        """
        kind = self._types.get(tensor.dtype)
        if kind is None:
            kind = self._types[tensor.dtype] = self._type(tensor.dtype, name)
        space, way = self._space(tensor.shape), path.encode()
        made = self._d.create(group, way, kind, space, self._creation, lcpl=self._links)
        if is_bfloat16(tensor.dtype):
            self.text(made, "dtype", "bfloat16")
        self.offsets[name] = made.get_offset() or 0

    def text(self, owner: Any, name: str, value: str) -> None:
        """Write an attribute that is a text."""
        made = self._a.create(owner, name.encode(), self._stored, self._spaces[()])
        made.write(np.array(value, self._string), mtype=self._given)

    def _space(self, shape: tuple[int, ...]) -> Any:
        if shape not in self._spaces:
            self._spaces[shape] = self._s.create_simple(shape)
        return self._spaces[shape]

    def _type(self, dtype: DType, name: str) -> Any:
        if dtype.kind not in "iuf" and not is_bfloat16(dtype):
            raise ContainerError(
                "cannot stand in an HDF5 file",
                tensor=name,
                expected="whole or floating-point numbers",
                found=dtype.name,
                hint=f"{option('drop', ['PATH'])}; PATH is its path in the source",
            )
        stored = np.dtype("V2") if is_bfloat16(dtype) else dtype
        return self._t.py_create(stored, logical=True)

    def texts(self, owner: Any, name: str, values: list[str]) -> None:
        """Write a list of strings, split as Keras does where one attribute cannot hold it."""
        array: Any = np.array([value.encode() for value in values], "S" if values else "S1")
        if array.itemsize > _MAX_ATTRIBUTE:
            raise ContainerError("a name is too long for HDF5", tensor=max(values, key=len)[:100])
        count, parts = 1, [array]
        while any(part.nbytes > _MAX_ATTRIBUTE for part in parts):
            count += 1
            parts = np.array_split(array, count)
        for i, part in enumerate(parts):
            kind = self._types.get(part.dtype)
            if kind is None:
                kind = self._types[part.dtype] = self._t.py_create(part.dtype, logical=True)
            own = f"{name}{i}" if count > 1 else name
            attribute = self._a.create(owner, own.encode(), kind, self._space(part.shape))
            if part.size:
                attribute.write(part)


def _require_loadable(name: str, tensor: Tensor) -> None:
    """Refuse bfloat16 in the legacy layout: Keras 3 itself writes it there, and never loads it."""
    if is_bfloat16(tensor.dtype):
        raise ContainerError(
            "Keras loads no bfloat16 from this layout",
            tensor=name,
            hint=f"{option('dtype', 'float32')} or a target whose name ends in .weights.h5",
        )


def _require_paths(names: Iterable[str]) -> None:
    """Refuse what HDF5 would make another path of: it ends names at a NUL, and skips ``//``."""
    for name in names:
        if "\0" in name or not {"", "."}.isdisjoint(name.split("/")):
            raise ContainerError("a name that HDF5 cannot hold", tensor=name or "''")
