"""``--kind PATH=KIND``: what the user knows of a layer and the file does not tell."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ckptconv.errors import CkptconvError
from ckptconv.graph.kinds import KINDS, PARAMETER

_SPEC = re.compile(r"(\w+)(?:\((.*)\))?")


@dataclass(frozen=True)
class KindHint:
    """A kind and, optionally, its constructor's arguments under torch's names."""

    kind: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


def parse_kinds(
    kinds: Mapping[str, str] | None, kind_of: Callable[[str], str | None] = lambda name: name
) -> dict[str, KindHint]:
    """Read ``{"path": "LSTM(hidden_size=128, bias=True)"}``.

    Args:
        kind_of: what finds the kind that a framework's class is.

    Raises:
        CkptconvError: an unknown kind, or arguments that are not ``name=literal``.
    """
    return {path: _parse(path, text, kind_of) for path, text in (kinds or {}).items()}


def _parse(path: str, text: str, kind_of: Callable[[str], str | None]) -> KindHint:
    match = _SPEC.fullmatch(text.strip())
    known = (*KINDS, PARAMETER)
    name = match[1] if match else text
    kind = name if name in known else kind_of(name)
    if match is None or kind not in known:
        raise CkptconvError(
            f"--kind {path}: unknown kind", expected=", ".join(known), found=repr(text)
        )
    try:
        call = ast.parse(f"f({match[2] or ''})", mode="eval").body
        if not isinstance(call, ast.Call) or call.args or not all(k.arg for k in call.keywords):
            raise ValueError
        return KindHint(kind, {str(k.arg): ast.literal_eval(k.value) for k in call.keywords})
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        raise CkptconvError(
            f"--kind {path}: arguments that cannot be read",
            expected=f"{kind}(name=number, …)",
            found=repr(text),
        ) from None
