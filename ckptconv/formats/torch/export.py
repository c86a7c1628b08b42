"""``torch.export.save``'s archives (.pt2; torch/export/pt2_archive, torch/_export/serde).

Since 2.8 each weight is a record of plain bytes that ``model_weights_config.json`` describes;
before, ``serialized_state_dict.pt`` is a ``torch.save`` file inside the archive. The graph, as
JSON, tells the class of each module and the arguments of the operators that read its parameters.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from ckptconv.checkpoint import Checkpoint, Module
from ckptconv.codecs.json import parse
from ckptconv.codecs.zip.reader import Archive, has_member
from ckptconv.errors import ContainerError
from ckptconv.formats.torch.checkpoint import build, filled, with_facts
from ckptconv.formats.torch.dtypes import DTYPES
from ckptconv.formats.torch.modules import Tree, jsonable, short_name
from ckptconv.formats.torch.records import find_root, is_big_endian, unpickle_record
from ckptconv.formats.torch.regions import flattened
from ckptconv.formats.torch.tensors import Storage, Stored, as_tensor
from ckptconv.formats.torch.twins import with_twins
from ckptconv.io.reader import Source
from ckptconv.tensors.tensor import Tensor

_WEIGHTS, _CONFIG = "data/weights/", "data/weights/model_weights_config.json"
_CONSTANTS = "data/constants/model_constants_config.json"
_KEPT = "data/constants/"
_NO_STATE = "a constant of the program, or a buffer that no state_dict has"
_GRAPHS = ("models/model.json", "serialized_exported_program.json")
_STATE_DICT = "serialized_state_dict.pt"
_MAX_JSON = 8 << 20
_STRIDED = 7
_PARAMETRIZED = "torch.nn.utils.parametrize.Parametrized"
_RENAMED = {"has_biases": "bias", "train": None, "training": None}
_TYPES = {
    1: "uint8",
    2: "int8",
    3: "int16",
    4: "int32",
    5: "int64",
    6: "float16",
    7: "float32",
    8: "float64",
    10: "complex64",
    11: "complex128",
    12: "bool",
    13: "bfloat16",
    28: "uint16",
    29: "float8_e4m3fn",
    30: "float8_e5m2",
    31: "float8_e4m3fnuz",
    32: "float8_e5m2fnuz",
    33: "float8_e8m0fnu",
    34: "uint32",
    35: "uint64",
}
"""torch/_export/serde/schema.py, ScalarType."""


def sniff(source: Source) -> bool:
    """Tell whether a zip file names the weights of an exported program."""
    return has_member(source, _CONFIG) or has_member(source, _STATE_DICT)


def read(source: Source, *, select: str | None = None) -> Checkpoint:  # noqa: ARG001
    """Read names, shapes, dtypes, and what the graph tells of the modules.

    Raises:
        ContainerError: damaged, or weights saved in another way.
    """
    archive = Archive(source)
    try:
        constants: dict[str, Any] = {}
        if has_member(source, _STATE_DICT):
            checkpoint, root = _read_old(archive), ""
        else:
            root = find_root(archive, _CONFIG)
            constants = _constants(archive, root)
            checkpoint = _read_new(archive, root, constants)
        program = _program(archive)
        if program is not None:
            modules = {**checkpoint.modules, **_modules(program["graph_module"])}
            modules = with_twins(modules, checkpoint.tensors)
            version = str(program.get("torch_version"))
            checkpoint = replace(checkpoint, modules=modules)
            held = _held(archive, root, constants)
            graph = program["graph_module"]
            checkpoint = with_facts(
                checkpoint, torch_version=version, program=graph, constants=held
            )
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        reason = f"damaged description of the weights: {error}"
        raise ContainerError(reason, file=source.path) from None
    return checkpoint


def _read_old(archive: Archive) -> Checkpoint:
    root = find_root(archive, _STATE_DICT)
    inner = Archive(archive.member(root + _STATE_DICT))
    value = unpickle_record(inner, find_root(inner, "data.pkl"))
    return build(value, inner.source, "torch-export", None)


def _constants(archive: Archive, root: str) -> dict[str, Any]:
    """Return what is said of each constant of a program."""
    if root + _CONSTANTS not in archive:
        return {}
    said = parse(archive.read(root + _CONSTANTS, _MAX_JSON), archive.source.path, _CONSTANTS)
    return dict(said["config"])


def _read_new(archive: Archive, root: str, constants: dict[str, Any]) -> Checkpoint:
    config = parse(archive.read(root + _CONFIG, _MAX_JSON), archive.source.path, _CONFIG)["config"]
    tree, swapped = Tree(), is_big_endian(archive, root)
    for name, entry in config.items():
        tree.values[name] = _stored(archive, root + _WEIGHTS, swapped, name, entry)
    tree.omitted |= {name: _NO_STATE for name in constants if name not in tree.values}
    return filled("torch-export", tree, archive.source)


def _stored(
    archive: Archive, folder: str, swapped: bool, name: str, entry: dict[str, Any]
) -> Stored:
    """Return what an entry of a config describes, the record of which is in ``folder``."""
    path, meta = archive.source.path, entry["tensor_meta"]
    if entry.get("use_pickle") or meta["layout"] != _STRIDED:
        raise ContainerError("values that are no plain bytes", file=path, tensor=name)
    dtype = _TYPES.get(meta["dtype"])
    if dtype is None or dtype not in DTYPES:
        found = f"type {meta['dtype']}"
        raise ContainerError("cannot be converted", file=path, tensor=name, found=found)
    record = folder + str(entry["path_name"])
    storage = Storage(partial(archive.member, record), dtype, big_endian=swapped)
    sizes, strides = (_integers(meta[key]) for key in ("sizes", "strides"))
    return Stored(storage, meta["storage_offset"]["as_int"], sizes, strides)


def _held(archive: Archive, root: str, constants: dict[str, Any]) -> dict[str, Tensor]:
    """Return the constants that can be read; whoever needs another will miss it."""
    found, swapped = dict[str, Tensor](), bool(constants) and is_big_endian(archive, root)
    for name, entry in constants.items():
        with suppress(ContainerError):
            stored = _stored(archive, root + _KEPT, swapped, name, entry)
            found[name] = as_tensor(stored, name, archive.source.path)
    return found


def _integers(values: list[dict[str, int]]) -> tuple[int, ...]:
    return tuple(value["as_int"] for value in values)


def _program(archive: Archive) -> Any:
    """Return the only exported program of an archive, or None."""
    names = [name for name in archive.records if name.endswith(_GRAPHS)]
    if len(names) != 1 or archive.records[names[0]].size > _MAX_JSON:
        return None
    program = parse(archive.read(names[0], _MAX_JSON), archive.source.path, names[0])
    module = program["graph_module"]
    return {**program, "graph_module": {**module, "graph": flattened(module["graph"])}}


def _modules(program: dict[str, Any]) -> dict[str, Module]:
    """Return path → Module of the modules that the graph went through."""
    weights = set(_inputs(program["signature"]["input_specs"]))
    classes: dict[str, str] = {}
    attributes: dict[str, dict[str, Any]] = {}
    for node in program["graph"]["nodes"]:
        stack = [e.split(",") for e in node["metadata"].get("nn_module_stack", "").split(";")]
        for _, where, cls in (entry for entry in stack if len(entry) == 3):
            classes.setdefault(where, cls)
        where = stack[-1][1] if stack[-1][1:] else None
        if where is not None:
            classes[where] = _parametrized(classes[where], str(node["target"]))
        if where is not None and not weights.isdisjoint(_tensors(node["inputs"])):
            attributes.setdefault(where, {}).update(_scalars(node["inputs"]))
    return {
        where: Module(short_name(cls), None, attributes.get(where, {}))
        for where, cls in classes.items()
    }


def _parametrized(cls: str, target: str) -> str:
    """Return the class that torch made a parametrized one of; it keeps its name alone, and so only
    where the operator is that of torch's own class."""
    own, operator = cls.removeprefix(_PARAMETRIZED), target.split(".")[-2:][0]
    is_own = own != cls and own.lower() == operator.replace("_", "")
    return f"torch.nn.modules.{own}" if is_own else cls


def _inputs(specs: list[dict[str, Any]]) -> list[str]:
    """Return the graph's names of parameters and buffers."""
    lifted = [spec.get("parameter") or spec.get("buffer") for spec in specs]
    return [spec["arg"]["name"] for spec in lifted if spec]


def _tensors(inputs: list[dict[str, Any]]) -> list[str]:
    """Return the names of the tensors that an operator takes."""
    found = []
    for item in inputs:
        arg = item["arg"]
        found += [one["name"] for one in (arg.get("as_tensors") or [])]
        found += [arg["as_tensor"]["name"]] if arg.get("as_tensor") else []
    return found


def _scalars(inputs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the plain arguments of an operator, under the names that modules use."""
    plain = ("as_int", "as_float", "as_bool", "as_string", "as_ints", "as_floats", "as_bools")
    pairs = [(i["name"], i["arg"][kind]) for i in inputs for kind in plain if kind in i["arg"]]
    named = [(_RENAMED.get(key, key), jsonable(value)) for key, value in pairs]
    return {key: value for key, value in named if key is not None and value is not ...}
