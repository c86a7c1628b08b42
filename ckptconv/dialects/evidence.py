"""What is known of a module: its parameters, what is said of it, what stands around it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any

from ckptconv.checkpoint import Module
from ckptconv.errors import DialectError, listed
from ckptconv.graph.forms import Forms
from ckptconv.graph.graph import Layer
from ckptconv.graph.hints import USER, KindHint
from ckptconv.spelling import option
from ckptconv.tensors.tensor import Tensor

REPORT = "the report of its conversion"
_UNTOLD = Module()
_SHOWN = 20


@dataclass
class Evidence:
    """What is known of a module.

    Attributes:
        params: own name → values.
        kinds: path → what the user said.
        modules: path → what the file says.
        kernel_ranks: the ranks of all weights in the file.
        before: the layers before this one in the file.
        into, out: the sizes that the next layer takes, and that the one before gives.
        columns: those of the table of layers to look in; the first that fits counts.
        fitting: what was found to fit parameters of the same names and shapes in the same file.
        inner: a module that stands inside this one.
    """

    path: str
    params: Mapping[str, Tensor]
    kinds: Mapping[str, KindHint] = field(default_factory=dict)
    modules: Mapping[str, Module] = field(default_factory=dict)
    kernel_ranks: frozenset[int] = frozenset()
    before: Sequence[Layer] = ()
    columns: Sequence[Forms] = ()
    fitting: dict[object, list[tuple[str, Forms]]] = field(default_factory=dict)
    into: frozenset[int] = frozenset()
    out: frozenset[int] = frozenset()
    inner: str | None = None

    @property
    def module(self) -> Module:
        """What the file says of it."""
        return self.modules.get(self.path, _UNTOLD)

    @property
    def class_name(self) -> str:
        """The class that the file names, or ``""``."""
        return self.module.class_name or ""

    @cached_property
    def hint(self) -> KindHint | None:
        """What the user says of it."""
        return hint_of(self.kinds, self.path)

    @property
    def is_told(self) -> bool:
        """Whether the user, or a class of the framework's in the file, says what it is."""
        name = self.class_name
        return self.hint is not None or bool(name and "." not in name)

    @cached_property
    def said(self) -> Mapping[str, Any]:
        """The hyper-parameters that the file records, or the user says."""
        return {**self.module.attributes, **(self.hint.arguments if self.hint else {})}


def hint_of(kinds: Mapping[str, KindHint], path: str) -> KindHint | None:
    """Return what the user said of a module: of its path, or of a pattern that fits it."""
    if path in kinds:
        return kinds[path]
    return next((hint for pattern, hint in kinds.items() if fnmatchcase(path, pattern)), None)


def check_used(kinds: Mapping[str, KindHint], paths: Collection[str]) -> None:
    """Raise DialectError for what the user says of none of these modules."""
    said = (path for path, hint in kinds.items() if hint.evidence == USER)
    stray = [p for p in said if p not in paths and not any(fnmatchcase(path, p) for path in paths)]
    if stray:
        names = ", ".join(sorted(stray))
        raise DialectError(
            f"{option('kinds')} names no module that holds parameters: {names}",
            expected=listed(paths, _SHOWN),
        )
