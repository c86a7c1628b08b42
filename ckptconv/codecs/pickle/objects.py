"""What a pickle yields when nothing in it is run: inert objects, and a table of harmless calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

_SCALARS = frozenset((str, bytes, int, float, bool, complex, type(None)))

Call = Callable[..., Any]


class Name:
    """A class or function that the file names: two strings, never looked up."""

    __slots__ = ("full", "module", "name")

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name, self.full = module, name, f"{module}.{name}"

    def __repr__(self) -> str:
        return self.full


class Instance:
    """What the file would have built by calling ``cls(*args)``.

    Attributes:
        cls: a Name, or whatever stood in its place.
        args: the arguments.
        state: what BUILD gave, usually a dict of attributes.
        listing, mapping: what was appended and set, as for a subclass of list or dict.
    """

    __slots__ = ("args", "cls", "listing", "mapping", "state")

    def __init__(self, cls: object, args: tuple[Any, ...] = ()) -> None:
        self.cls, self.args = cls, args
        self.state: Any = None
        self.listing: list[Any] = []
        self.mapping: dict[Any, Any] = {}

    @property
    def class_name(self) -> str:
        """The class with its package, or what stands in its place."""
        return self.cls.full if isinstance(self.cls, Name) else type(self.cls).__name__

    def __repr__(self) -> str:
        return f"<{self.class_name}>"


class Dict(dict[Any, Any]):
    """An OrderedDict or another known mapping; ``state`` holds its attributes."""

    __slots__ = ("state",)

    def __init__(self, items: object = ()) -> None:
        super().__init__()
        self.state: Any = None
        if items != ():
            self._take(items)

    def _take(self, items: object) -> None:
        if not isinstance(items, (dict, list, tuple)):
            raise TypeError("a mapping of neither a dict nor pairs")
        for key, value in items.items() if isinstance(items, dict) else items:
            self[as_key(key)] = value


def is_inert(value: object) -> bool:
    """Tell whether ``value`` is an object of ours (compared by identity) and no plain data."""
    return type(value).__hash__ is object.__hash__


def as_key(key: object) -> Any:
    """Return what may stand for ``key`` in a dict without hashing what the file made up.

    Tuples and huge integers, whose hashes a file could make collide, become text.

    Raises:
        TypeError: neither a scalar, a flat tuple nor an object compared by identity.
    """
    kind = type(key)
    if kind is int:
        return key if -(1 << 63) <= key < 1 << 64 else repr(key)  # type: ignore[operator]
    if kind in _SCALARS or is_inert(key):
        return key
    if isinstance(key, tuple) and all(type(item) in _SCALARS for item in key):
        return repr(key)
    raise TypeError(f"a dict key that is a {'nested ' * (kind is tuple)}{kind.__name__}")


def told(value: object) -> str:
    """Return what messages say of a value: a list that holds itself twice, and so on, has no end.

    Only names and scalars are written out.
    """
    if isinstance(value, str | bytes):
        return repr(value[:100])
    plain = isinstance(value, Name) or type(value) in _SCALARS
    return str(value) if plain else f"a {type(value).__name__}"


def size_of(made: object) -> int:
    """Return what a text takes, or what a call took that copies what it is given; else 0.

    One wide character makes all of a text wide.
    """
    if isinstance(made, str):
        return len(made) if made.isascii() else 4 * len(made)
    if isinstance(made, bytes):
        return len(made)
    if isinstance(made, Dict):
        return sum(100 + size_of(key) for key in made)
    return 8 * len(made) if isinstance(made, list) else 0


COPIES = frozenset((bytes, list, Dict))
"""Types of what calls of the table make of what they are given."""


def _set(items: Iterable[Any] = ()) -> list[Any]:
    if not isinstance(items, (list, tuple)):
        raise TypeError("a set of neither a list nor a tuple")
    return list(items)


def _bytes(data: object = b"", encoding: str = "latin1") -> bytes:
    """Bytes as protocols below 3 spell them: text to encode."""
    if encoding not in ("latin1", "latin-1", "utf-8", "ascii"):
        raise ValueError("an unknown encoding")
    if isinstance(data, str):
        return data.encode(encoding)
    if not isinstance(data, bytes):
        raise TypeError(f"bytes of a {type(data).__name__}")
    return data


CALLS: dict[str, Call] = {
    "collections.OrderedDict": Dict,
    "collections.Counter": Dict,
    "collections.defaultdict": lambda *_: Dict(),
    "builtins.dict": Dict,
    "builtins.set": _set,
    "builtins.frozenset": _set,
    "builtins.list": _set,
    "builtins.bytes": _bytes,
    "builtins.bytearray": _bytes,
    "_codecs.encode": _bytes,
    "copyreg._reconstructor": lambda cls, *_: Instance(cls),
}
"""What a pickle of plain Python data calls."""
