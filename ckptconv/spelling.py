"""How messages spell an option: as whoever reads them would give it.

Everywhere an option has its name in the API: ``option("kinds", {"head": "Linear"})`` reads
``kinds={'head': 'Linear'}`` for who called a function, and ``--kind head=Linear`` for who typed a
command. The command line brings its own spelling.
"""

from __future__ import annotations

import functools
import inspect
import re
import shlex
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from fnmatch import translate
from glob import escape
from typing import Any, TypeVar, cast

Called = TypeVar("Called", bound=Callable[..., Any])
Spelling = Callable[[str, object, str], str]
"""Spells (an option's name in the API, its value, the prefix that it has for a second file)."""
_CALLED: ContextVar[Callable[[], set[str]] | None] = ContextVar("called", default=None)
_SIDE: ContextVar[str] = ContextVar("side", default="")
_LONG, _KEPT, _PARTS = 200, 100, 100
_NUMBER = re.compile(r"\d+")


def in_python(name: str, value: object, side: str) -> str:
    """Spell an option as an argument, of ``convert`` where the function called has none such."""
    called = _CALLED.get()
    taken = called() if called else {name}
    name = side + name if side + name in taken else name
    if value is None:
        return name
    return f"{name}={value!r}" if name in taken else f"convert(…, {name}={value!r})"


class _Reader:
    spelling: Spelling = staticmethod(in_python)


def option(name: str, value: object = None) -> str:
    """Return an option as the reader of the message spells it.

    Args:
        name: in the API.
        value: what is advised: True, a text, a list, a mapping; None speaks of the option alone.
    """
    if name == "kinds" and isinstance(value, Mapping):
        value = {_pattern(path): kind for path, kind in value.items()}
    return _Reader.spelling(name, value, _SIDE.get())


def by_hand(layer: str) -> str:
    """Return the advice to leave to a person, in a network, what a layer computes."""
    return f"{option('stubs', [layer])}; it leaves a function to be written by hand"


def _pattern(path: str) -> str:
    """A file can make a name as long as it likes."""
    return path if len(path) <= _LONG else f"{path[:_KEPT]}*"


def quoted(text: str) -> str:
    """Return a word as a shell takes it; what is not printable as bash and zsh escape it.

    >>> quoted("a b"), quoted("two\\nlines")
    ("'a b'", "$'two\\\\x0alines'")
    """
    if text.isprintable():
        return shlex.quote(text)
    plain = (c if c.isprintable() and c not in "'\\" else _escaped(c) for c in text)
    return f"$'{''.join(plain)}'"


def _escaped(character: str) -> str:
    byte = "\udc80" <= character <= "\udcff"  # of a file's name that is no text
    data = character.encode("utf-8", "surrogateescape" if byte else "surrogatepass")
    return "".join(f"\\x{value:02x}" for value in data)


def patterns(paths: Sequence[str], others: Collection[str]) -> list[str]:
    """Return patterns that fit all of these paths, which differ in numbers alone, and no other.

    >>> patterns(["cnn.0.conv", "cnn.3.conv"], ["cnn.1.norm"])
    ['cnn.*.conv']
    >>> patterns(["cnn.0.0", "cnn.0.3", "cnn.1.0"], ["cnn.0.1", "cnn.1.1"])
    ['cnn.*.0', 'cnn.0.3']
    """
    if len(paths) == 1:
        return [*paths]
    rows = {path: _NUMBER.findall(path) for path in paths}
    values = [set(column) for column in zip(*rows.values(), strict=True)]
    several = [n for n, found in enumerate(values) if len(found) > 1]
    texts, numbers = map(escape, _NUMBER.split(paths[0])), rows[paths[0]]
    starred = ["*" if n in several else number for n, number in enumerate(numbers)]
    pattern = "".join(map("".join, zip(texts, (*starred, ""), strict=True)))
    fits = re.compile(translate(pattern)).match
    others = [*filter(fits, others)]
    if not others:
        return [pattern]
    at = min(several, key=lambda n: (len(values[n]), -n))
    parts: dict[str, list[str]] = {}
    for path, row in rows.items():
        parts.setdefault(row[at], []).append(path)
    if len(parts) > _PARTS:
        return [*paths]
    return [pattern for part in parts.values() for pattern in patterns(part, others)]


def read_by(spelling: Spelling) -> Spelling:
    """Spell options so from here on, in all threads; return how it was until now."""
    before, _Reader.spelling = _Reader.spelling, staticmethod(spelling)
    return before


@contextmanager
def second_file(prefix: str) -> Iterator[None]:
    """Advise the options of the second of two files, whose names have a prefix."""
    token = _SIDE.set(prefix)
    try:
        yield
    finally:
        _SIDE.reset(token)


def public(*keywords: Any) -> Callable[[Called], Called]:
    """Mark a function of the API, whose messages advise what it takes.

    Args:
        keywords: the TypedDict of its ``**options``.
    """

    def mark(function: Called) -> Called:
        @functools.cache
        def taken() -> set[str]:
            more = (name for kind in keywords for name in kind.__optional_keys__)
            return {*inspect.signature(function).parameters, *more}

        @functools.wraps(function)
        def call(*args: Any, **given: Any) -> Any:
            token = _CALLED.set(_CALLED.get() or taken)  # who calls whom is no reader's matter
            try:
                return function(*args, **given)
            finally:
                _CALLED.reset(token)

        return cast("Called", call)

    return mark
