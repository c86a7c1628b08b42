"""What somebody says that a module is: ``LSTM(hidden_size=128)``."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ckptconv.errors import UsageError
from ckptconv.graph.kinds import KINDS, PARAMETER
from ckptconv.spelling import option

_SPEC = re.compile(r"([\w.]+)(?:\((.*)\))?", re.DOTALL)
USER = "the user's word"
"""Evidence that leaves nothing to find out."""


@dataclass(frozen=True)
class KindHint:
    """A kind, its constructor's arguments under torch's names, and whose word it is."""

    kind: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    evidence: str = USER

    @property
    def denied(self) -> str:
        """The problem where a module cannot be this."""
        whose = "" if self.evidence == USER else f", as {self.evidence} has it"
        return f"cannot be a {self.kind}{whose}"


def parse_hint(path: str, text: str | KindHint) -> KindHint:
    """Read ``LSTM(hidden_size=128, bias=True)``.

    Raises:
        UsageError: an unknown kind, or arguments that are not ``name=literal``.
    """
    if isinstance(text, KindHint):
        return text
    if not (match := _SPEC.fullmatch(str(text).strip())):
        raise _unknown_kind(path, text)
    kind = match[1]
    try:
        call = ast.parse(f"f({match[2] or ''})", mode="eval").body
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.args:
            raise ValueError
        given = {k.arg: ast.literal_eval(k.value) for k in call.keywords if k.arg}
        if len(given) != len(call.keywords):
            raise ValueError
        return KindHint(kind, given)
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        raise UsageError(
            f"{option('kinds')} of {path}: arguments that cannot be read",
            expected=f"{kind}(name=number, …)",
            found=repr(text),
        ) from None


def resolve(path: str, hint: KindHint, kind_of: Callable[[str], str | None]) -> KindHint:
    """Return a hint whose kind is one of the table's.

    Raises:
        UsageError: an unknown kind.
    """
    if (kind := kind_of(hint.kind)) is None:
        raise _unknown_kind(path, hint.kind)
    return replace(hint, kind=kind)


def _unknown_kind(path: str, text: object) -> UsageError:
    known = ", ".join((*KINDS, PARAMETER))
    problem = f"{option('kinds')} of {path}: unknown kind"
    return UsageError(problem, expected=known, found=repr(text))
