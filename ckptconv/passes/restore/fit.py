"""Whether a report tells of the file that it is given with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from ckptconv.checkpoint import Checkpoint
from ckptconv.errors import AmbiguousKindError, CkptconvError, DialectError, StrPath, listed
from ckptconv.passes.restore.told import shapes
from ckptconv.spelling import option

_SHOWN = 3
_Shapes = Mapping[str, tuple[int, ...]]


@contextmanager
def doubting(path: StrPath, report: Mapping[str, Any], checkpoint: Checkpoint) -> Iterator[None]:
    """Say, of what is refused by a report of another file, that it is that.

    Args:
        path: of the report.

    Raises:
        CkptconvError: what was refused; of another file's report it is said beside that.
    """
    try:
        yield
    except CkptconvError as error:
        told: _Shapes | None = None
        with suppress(CkptconvError):  # no report, of which nothing more is said
            told = shapes(report)
        held = {name: tensor.shape for name, tensor in checkpoint.tensors.items()}
        if told is None or told == held or not _is_doubtful(error, told, held):
            raise
        raise _other_file(path, told, checkpoint.path, held, str(error)) from None


def _is_doubtful(error: CkptconvError, told: _Shapes, held: _Shapes) -> bool:
    """Tell what a report can be the reason of; of a new layer beside its own it is none."""
    if isinstance(error, AmbiguousKindError):
        return not told.items() & held.items()
    return type(error) in (CkptconvError, DialectError)


def _other_file(
    path: StrPath, told: _Shapes, where: str, held: _Shapes, refused: str
) -> CkptconvError:
    found, expected = _apart(told, held), _apart(held, told)
    error = CkptconvError(
        "the report is of another file, or of this one before it was changed",
        file=path,
        expected=f"tensors of {where or 'the file'}: {expected or 'no others'}",
        found=found or "not all of them",
        hint=f"{option('restore', 'REPORT')}; REPORT is what the conversion to this file wrote; "
        f"or {option('like', 'TARGET')}; TARGET is the network that it is to go back to",
    )
    error.others = [refused]
    return error


def _apart(some: _Shapes, others: _Shapes) -> str:
    return listed((f"{n} {s}" for n, s in some.items() if others.get(n) != s), _SHOWN)
