"""A target network's parameters: a checkpoint of its own, or what printing them gives.

Lines are taken as any of the usual loops prints them::

    for name, p in net.named_parameters(): print(name, p.shape)        # name torch.Size([5, 3])
    for p in net.get_parameters(): print(p)     # Parameter (name=fc.weight, shape=(5, 3), dtype=…)

and ``name (5, 3)``, ``name: [5, 3] float32``, ``name 5x3``; JSON is ``{"name": [5, 3]}`` or
``{"name": {"shape": [5, 3], "dtype": "float32"}}``.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from typing import Any, NamedTuple

from ckptconv import formats
from ckptconv.checkpoint import Checkpoint, Facts, MindSporeFacts, TorchFacts
from ckptconv.errors import ContainerError, StrPath
from ckptconv.io.reader import File
from ckptconv.spelling import option
from ckptconv.tensors.declared import Declared
from ckptconv.tensors.tensor import Tensor

FORMAT = "shapes"
_MAX_LIST, _MAX_LINE = 64 << 20, 4096
_MARKS = {"torch": "torch.", "mindspore": "Parameter ("}
_BRACKETS = r"(?P<dims>[\[(][\d\s,]*[\])])"
_DIMS = r"(?P<dims>[\[(][\d\s,]*[\])]|\d+(?:\s*[,x×\s]\s*\d+)*)"
_DTYPE = r"(?:(?:dtype=)?(?:\w+\.)?(?P<dtype>[A-Za-z]+\d+|[Bb]ool))"
_PARAMETER = re.compile(
    r"Parameter\s*\(name=(?P<name>(?:(?!\(name=)[^,\n])+),\s*shape=(?P<dims>\([\d\s,]*\))"
    r"(?:,\s*dtype=(?:\w+\.)?(?P<dtype>\w+))?"
)
_BEGINS = re.compile(r"Parameter\s*\(name=")
_QUOTED = re.compile(
    r"""(?P<q>['"])(?P<name>[^'"\n]+)(?P=q)\s*[:,]\s*(?:torch\.Size\()?"""
    r"""(?P<dims>[\[(][\d\s,]*[\])])\)*(?:\s*,\s*(?:\w+\.)(?P<dtype>\w+))?"""
)
_BETWEEN = r"(?:\s*[:=|,]\s*|\s*(?:->|→)\s*|\s+)(?:shape=)?(?:torch\.Size\()?"
_AFTER = rf"\)?\s*[,|]?\s*{_DTYPE}?(?:\s+(?:True|False))?[\s,|]*"
_WORD = r"""[^\s'":=|()\[\]]+?"""
_LINES = (
    re.compile(rf"""['"]?(?P<name>[^\s'":=|]+?)['"]?{_BETWEEN}{_DIMS}{_AFTER}"""),
    re.compile(  # a name with spaces in it, but no dtype, and its sizes in brackets
        rf"""(?!.*\s(?:\w+\.)?(?:b?float|u?int|bool|complex)\d*\s*[\[(])"""
        rf"""(?P<q>['"]?)(?P<name>{_WORD}(?: {_WORD})*?)(?P=q){_BETWEEN}{_BRACKETS}{_AFTER}"""
    ),
)


class _Declaration(NamedTuple):
    name: str
    shape: tuple[int, ...]
    dtype: str


def read(path: StrPath, *, select: str | None = None) -> Checkpoint:
    """Return the parameters of a target network, in its order.

    Raises:
        ContainerError: neither a checkpoint nor a list of parameters.
    """
    try:
        return formats.read(path, select=select)
    except ContainerError as error:
        text = _text(path, error)
        if text is None:
            raise
        return _declared(text, os.fsdecode(path), error)


def _declared(text: str, path: str, error: ContainerError) -> Checkpoint:
    if '"ckptconv-report-' in text:
        raise ContainerError(
            "the report of a conversion", file=path, hint=option("restore", path)
        ) from error
    entries = _entries(text)
    if not entries and re.match(r"\{.{0,4096}\"class_name\":", text, re.DOTALL):
        raise ContainerError(
            "the configuration of a Keras model, which tells no shapes",
            file=path,
            hint=option("like", "like.weights.h5")
            + "; that is what model.save_weights('like.weights.h5') writes, trained or not",
        ) from error
    if not entries:
        expected = 'a checkpoint, {"name": [dims], …} or lines such as: name (dims)'
        raise ContainerError("not a list of parameters", file=path, expected=expected) from error
    tensors: dict[str, Tensor] = {}
    for name, dims, dtype in entries:
        try:
            tensor = Declared(dims, dtype)
        except ValueError as wrong:
            raise ContainerError(str(wrong), file=path, tensor=name) from None
        if tensors.setdefault(name, tensor).shape != dims:
            found = f"{tensors[name].shape} and {dims}"
            raise ContainerError("stands twice in the list", file=path, tensor=name, found=found)
    return Checkpoint(FORMAT, tensors, facts=_printed_by(text), path=path)


def _printed_by(text: str) -> Facts | None:
    """Tell whose way of printing a list is in."""
    found = {name for name, mark in _MARKS.items() if mark in text}
    if len(found) != 1:
        return None
    return TorchFacts() if found == {"torch"} else MindSporeFacts()


def _entries(text: str) -> list[_Declaration]:
    """Return what was printed: JSON, Parameters, quoted pairs in brackets, or one to a line."""
    try:
        document = json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        with suppress(ValueError):  # a size of thousands of digits
            return _from_text(text)
        return []
    try:
        return [_Declaration(name, *_described(value)) for name, value in document.items()]
    except (ValueError, TypeError, KeyError, AttributeError):
        return []


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name that stands twice")
    return found


def _described(value: Any) -> tuple[tuple[int, ...], str]:
    dims, dtype = (
        (value["shape"], value.get("dtype", "")) if isinstance(value, dict) else (value, "")
    )
    if not all(type(n) is int and n >= 0 for n in dims):
        raise ValueError("not a shape")
    return tuple(dims), str(dtype)


def _from_text(text: str) -> list[_Declaration]:
    if begun := len(_BEGINS.findall(text)):
        found = [_entry(m) for m in _PARAMETER.finditer(text)]
        return found if len(found) == begun else []
    if text.startswith(("{", "[", "(", "OrderedDict", "odict")):
        whole = not re.search(r"['\"]", _QUOTED.sub("", text))
        return [_entry(m) for m in _QUOTED.finditer(text)] if whole else []
    # Runs of blanks, which could be shared out in very many ways, count as one.
    lines = [" ".join(words) for line in text.splitlines() if (words := line.split())]
    matches = [_line(line) for line in lines]
    return [_entry(m) for m in matches if m] if all(matches) else []


def _line(text: str) -> re.Match[str] | None:
    if len(text) > _MAX_LINE:
        return None
    return next((match for line in _LINES if (match := line.fullmatch(text))), None)


def _entry(match: re.Match[str]) -> _Declaration:
    dims = tuple(map(int, re.findall(r"\d+", match["dims"])))
    return _Declaration(match["name"], dims, match["dtype"] or "")


def _text(path: StrPath, error: ContainerError) -> str | None:
    """Return a file as text, or None where it is none."""
    if not os.path.isfile(path):
        raise error
    source = File(path)
    if source.size > _MAX_LIST:
        return None
    try:
        text = source.read(0, source.size).decode("utf-8").strip()
    except UnicodeDecodeError:
        return None
    return None if "\x00" in text else text
