"""TorchScript archives (torch/csrc/jit/serialization): ``torch.jit.save`` of any module.

``data.pkl`` holds the module tree with tensors as plain attributes; which of them are parameters
and buffers, and the attributes that are ``Final``, stand in ``code/**.py``, which is read as text.
``constants.pkl`` holds the tensors that this text calls ``CONSTANTS.c0`` and so on.
"""

from __future__ import annotations

import ast
import re
from typing import Any, NamedTuple

from ckptconv.checkpoint import Checkpoint, Module, join
from ckptconv.codecs.pickle.objects import Instance, Name
from ckptconv.codecs.zip.reader import Archive, has_member
from ckptconv.errors import ContainerError
from ckptconv.formats.torch.checkpoint import filled, with_facts
from ckptconv.formats.torch.members import count_tensors, members
from ckptconv.formats.torch.modules import Tree, attributes, short_name, take_attributes
from ckptconv.formats.torch.records import find_root, format_version, unpickle_record
from ckptconv.io.reader import Source

_PREFIX = "__torch__."
_MANGLED = re.compile(r"\.___torch_mangle_\d+(?=\.)")
_CLASS = re.compile(r"^class (\w+)\(Module\):\n((?:  (?!def ).*\n|\n)*)", re.MULTILINE)
_TENSORS = re.compile(r"^  __(?:parameters|buffers)__ = \[(.*)\]$", re.MULTILINE)
_TEXT = re.compile(r'"([^"\\]*)"')
_FINAL = re.compile(r"^  (\w+) : Final\[.*?\] = (.+)$", re.MULTILINE)
_MAX_CODE, _MAX_LITERAL = 16 << 20, 4096
_CONSTANT = "a constant of the code, as torch.jit.freeze makes of weights; not a parameter"


class _Class(NamedTuple):
    """What the code says of a class: the names of its tensors, and its Final attributes."""

    tensors: tuple[str, ...]
    finals: dict[str, Any]


def sniff(source: Source) -> bool:
    """Tell whether a zip file names a ``constants.pkl``."""
    return has_member(source, "constants.pkl")


def read(source: Source, *, select: str | None = None) -> Checkpoint:
    """Read names, shapes, dtypes, and the attributes of each module.

    Args:
        select: the dotted path of a submodule.

    Raises:
        ContainerError: damaged, or no parameters (a frozen module keeps them as constants).
    """
    archive = Archive(source)
    root = find_root(archive, "constants.pkl")
    value = unpickle_record(archive, root)
    for key in select.split(".") if select else ():
        value = (members(value) or {}).get(key)
    if not isinstance(value, Instance):
        raise ContainerError("no module there", file=source.path, found=select or "another object")
    tree = _walk(_Code(archive, root), value, source.path)
    if not tree.values:
        hint = "saving the module before torch.jit.freeze"
        raise ContainerError("no parameters or buffers in it", file=source.path, hint=hint)
    tree.omitted |= dict.fromkeys(_constants(archive, root), _CONSTANT)
    checkpoint = filled("torchscript", tree, source)
    return with_facts(checkpoint, format_version=format_version(archive, root))


def _constants(archive: Archive, root: str) -> list[str]:
    """Return what the code calls its constants that are tensors, or hold some."""
    held = unpickle_record(archive, root, "constants")
    items, seen = held if isinstance(held, (list, tuple)) else [held], set[int]()
    return [f"CONSTANTS.c{i}" for i, item in enumerate(items) if count_tensors(item, seen)]


class _Code:
    """The classes of ``code/``, parsed when they are asked for."""

    def __init__(self, archive: Archive, root: str) -> None:
        self._archive, self._folder = archive, root + "code/"
        self._files: dict[str, dict[str, _Class]] = {}
        self._left = _MAX_CODE

    def find(self, name: str) -> _Class | None:
        """Return a module class of the archive by its qualified name, or None."""
        module, _, cls = name.rpartition(".")
        if module not in self._files:
            self._files[module] = self._parse(module)
        return self._files[module].get(cls)

    def _parse(self, module: str) -> dict[str, _Class]:
        path = f"{self._folder}{module.replace('.', '/')}.py"
        if path not in self._archive:
            return {}
        text = self._archive.read(path, self._left).decode("utf-8", "replace")
        self._left -= len(text)
        return {name: _parse_class(body) for name, body in _CLASS.findall(text)}


def _parse_class(body: str) -> _Class:
    tensors = [name for names in _TENSORS.findall(body) for name in _TEXT.findall(names)]
    return _Class(tuple(tensors), {name: _literal(text) for name, text in _FINAL.findall(body)})


def _literal(text: str) -> Any:
    """Return a Python literal, or ``...`` for what is none."""
    try:
        return ast.literal_eval(text) if len(text) <= _MAX_LITERAL else ...
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return ...


def _walk(code: _Code, root: Instance, path: str) -> Tree:
    tree, stack = Tree(), [("", root, 0)]
    while stack:
        prefix, module, depth = stack.pop()
        own = members(module) or {}
        tree.visit(own, depth, path)
        known = code.find(module.class_name) or _Class((), {})
        plain = {name: value for name, value in own.items() if name not in known.tensors}
        tree.modules[prefix] = Module(
            _class_name(module.class_name), None, attributes({**plain, **known.finals})
        )
        for name in known.tensors:
            if own.get(name) is not None:
                tree.put(join(prefix, name), own[name])
        take_attributes(tree, prefix, plain)
        below = [
            (join(prefix, str(name)), value, depth + 1)
            for name, value in plain.items()
            if isinstance(value, Instance) and _is_module(code, value)
        ]
        stack += reversed(below)
    return tree


def _is_module(code: _Code, value: Instance) -> bool:
    return isinstance(value.cls, Name) and code.find(value.cls.full) is not None


def _class_name(name: str) -> str:
    """Return a class's name; a script's own ``__main__`` is left out of what TorchScript writes."""
    plain = _MANGLED.sub("", name).removeprefix(_PREFIX)
    return short_name(plain) if "." in plain else f"__main__.{plain}"
