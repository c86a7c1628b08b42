"""What is done with each input: all that a user can do with a file from a stranger."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from ckptconv import api, dialects, formats, networks, pipeline
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
        given: options that take a file; what is wrong with that is refused, as a file is.

    Raises:
        BaseException: what is a finding.
    """
    try:
        stage = "refused"
        checkpoint = api.inspect(path)
        stage = "opened"
        _read(checkpoint.tensors.values())
        stage = "read"
        targets = _targets(given.get("like", ""))
        framework, suffix = targets[number % len(targets)]
        stage = "refused" if given else stage
        if "config" in given or checkpoint.format == "torch-export":
            networks.read(path, ReadOptions(**given))
        of_target = {name: given.pop(name) for name in ("like",) if name in given}
        graph = pipeline.lift(checkpoint, ReadOptions(**given))
        stage = "refused" if of_target else "lifted"
        target = path.with_name(f"target{suffix}")
        output = formats.output(target, dialects.dialect(framework).suffixes)
        lowered = pipeline.lower(graph, framework, WriteOptions(**of_target), output)
        _read(lowered.tensors.values())
        if number % WRITTEN == 0:
            describe(path)
            api.save(api.load(path, **given), target, to=framework, **of_target)
    except CkptconvError as error:
        _check_message(error, path)
        return stage
    return "converted"


def _targets(like: str) -> list[tuple[str, str]]:
    """Return the frameworks that can take the names of a target network, if there is one."""
    keras = like.endswith(".keras")
    return [row for row in _TARGETS if not like or (row[0] == "keras") == keras]


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
