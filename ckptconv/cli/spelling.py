"""How messages spell options on the command line: as the command that runs declares them."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ckptconv.cli.options import Row
    from ckptconv.spelling import Spelling

CALLED = {"kinds": "kind", "report": "report_file"}
"""API's names that the command line has not."""


def spelled(rows: Mapping[str, Row], elsewhere: Mapping[str, Row]) -> Spelling:
    """Return how options are spelled for who typed a command.

    Args:
        rows: the options of the command.
        elsewhere: those of ``convert``.
    """

    def spell(name: str, value: object, side: str) -> str:
        own = CALLED.get(name, name)
        found = next((rows[n] for n in (side + own, own, name) if n in rows), None)
        row = found or elsewhere.get(own)
        typed = row.declaration.default if row else f"--{name.replace('_', '-')}"
        words = " ".join(_words(typed, value))
        return words if found or value is None or not row else f"'ckptconv convert … {words}'"

    return spell


def _words(option: str, value: object) -> Iterator[str]:
    if value is None or value is True:
        yield option
        return
    if isinstance(value, Mapping):
        sides = ((k, v if isinstance(v, str) else ",".join(v)) for k, v in value.items())
        texts = ["=".join(pair) for pair in sides]
    else:
        texts = [str(text) for text in (value if isinstance(value, list) else [value])]
    yield from (f"{option} {shlex.quote(text)}" for text in texts)
