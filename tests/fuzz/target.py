"""What is done with each input: all that a user can do with a file from a stranger."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from ckptconv import api, networks, pipeline
from ckptconv.errors import CkptconvError
from ckptconv.inspection import describe
from ckptconv.options import ReadOptions, WriteOptions
from ckptconv.tensors.tensor import Tensor

_TARGETS = (
    ("mindspore", ".ckpt"),
    ("torch", ".pt"),
    ("keras", ".h5"),
    ("keras", ".weights.h5"),
    ("mint", ".safetensors"),
    ("torch", ".safetensors"),
)
TARGETS, WRITTEN = len(_TARGETS), 7
_BUDGET = 64 << 20  # bytes of values that are looked at
_LONGEST = 4000


class BadMessageError(Exception):
    """An error that does not say which file, or that floods or drives a terminal."""


def exercise(path: Path, number: int, **given: str) -> str:
    """Read everything and convert to another framework; return how far it went.

    Values are read and forgotten; each seventh input is also described and written to a file.

    Args:
        given: options of reading; what is wrong with them is refused, as a file is.

    Raises:
        BaseException: what is a finding.
    """
    try:
        stage = "refused"
        checkpoint = api.inspect(path)
        stage = "opened"
        _read(checkpoint.tensors.values())
        stage = "read"
        framework, suffix = _TARGETS[number % len(_TARGETS)]
        stage = "refused" if given else stage
        if "config" in given:
            networks.read(path, ReadOptions(**given))
        graph = pipeline.lift(checkpoint, ReadOptions(**given))
        stage = "lifted"
        _read(pipeline.lower(graph, framework, WriteOptions()).tensors.values())
        if number % WRITTEN == 0:
            describe(path)
            api.save(api.load(path, **given), path.with_name(f"target{suffix}"), to=framework)
    except CkptconvError as error:
        _check_message(error, path)
        return stage
    return "converted"


def _read(tensors: Iterable[Tensor]) -> None:
    left = _BUDGET
    for tensor in tensors:
        for block in tensor.blocks():
            left -= block.nbytes
            if left < 0:
                return


def _check_message(error: CkptconvError, path: Path) -> None:
    text = str(error)
    folder = os.fspath(path.parent)
    if not text.isprintable() or len(text) > _LONGEST or folder not in text:
        raise BadMessageError(f"{type(error).__name__}: {text[:500]!r}") from error
