"""The names and shapes of a target network, from a checkpoint of its own or a list."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping

from ckptconv import formats
from ckptconv.errors import ContainerError
from ckptconv.io.reader import Source

Shapes = Mapping[str, tuple[int, ...]]
_LINE = re.compile(r"([^\s:]+)[\s:]+[(\[]?\s*((?:\d+[\s,×x]*)*)[)\]]?")
_MAX_LIST = 64 << 20


def read(path: str | os.PathLike[str]) -> Shapes:
    """Return name → shape of the target's parameters.

    Args:
        path: a checkpoint of the target network, a JSON object ``{"name": [dims]}``, or a text of
            lines ``name (dims)``.

    Raises:
        ContainerError: none of these.
    """
    source = Source(path)
    try:
        checkpoint = formats.read(path)
    except ContainerError as error:
        text = _text(source, error)
        return _from_json(text, source.path) if text.startswith("{") else _from_lines(text, error)
    return {name: tensor.shape for name, tensor in checkpoint.tensors.items()}


def _text(source: Source, error: ContainerError) -> str:
    if source.size > _MAX_LIST:
        raise error
    try:
        return source.read(0, source.size).decode("utf-8").strip()
    except UnicodeDecodeError:
        raise error from None


def _from_json(text: str, file: str) -> Shapes:
    try:
        shapes = {name: tuple(map(int, dims)) for name, dims in json.loads(text).items()}
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise ContainerError(
            "not a list of parameters", file=file, expected='{"name": [dims], …}'
        ) from None
    return shapes


def _from_lines(text: str, error: ContainerError) -> Shapes:
    shapes: dict[str, tuple[int, ...]] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        found = _LINE.fullmatch(line)
        if found is None:
            raise error
        shapes[found[1]] = tuple(map(int, re.findall(r"\d+", found[2])))
    return shapes
