"""Mutations that know nothing of a format, and the numbers and texts that break parsers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

Mutation = Callable[[bytes, Random], bytes]
Range = tuple[int, int]

_POWERS = [1 << n for n in (4, 7, 8, 15, 16, 20, 24, 31, 32, 40, 47, 62, 63, 64)]
NUMBERS = [0, 1, 2, 3, 5, 10, *(p + d for p in _POWERS for d in (-1, 0, 1)), -1, -2, -(1 << 63)]
TEXTS = [
    b"",
    b"a" * 300,
    b"a" * 5000,
    b"\x1b[31m\x07\r\n",
    b"\xed\xa0\x80",
    b"\xff\xfe",
    b"a\0b",
    b"../../etc/passwd",
    b"/etc/passwd",
    b".",
    b"a/b.c",
    "\u202e\U0001f600".encode(),
    b"weight_hh_l0",
    b"rnn.weight_ih_l7_reverse",
    b"embed.weight",
    b"x.weight_g",
    b"x.weight_v",
    b"module.fc.weight_orig",
    b"_metadata",
    b"nan",
]


def number(rng: Random, near: int = 0) -> int:
    """Return a number that breaks parsers, or one that is nearly ``near``."""
    return rng.choice((rng.choice(NUMBERS), near + rng.choice((-8, -2, -1, 1, 2, 8, near))))


def mutate(data: bytes, rng: Random, hot: Sequence[Range] = ()) -> bytes:
    """Apply one mutation, preferably in one of the ``hot`` ranges."""
    if not data:
        return rng.randbytes(8)
    start, stop = rng.choice(hot) if hot and rng.random() < 0.9 else (0, len(data))
    at = rng.randrange(min(start, len(data) - 1), max(min(stop, len(data)), start + 1))
    return rng.choice(_MUTATIONS)(data, min(at, len(data) - 1), rng)


def bytewise(data: bytes, rng: Random) -> bytes:
    return mutate(data, rng)


def replace(data: bytes, at: int, new: bytes) -> bytes:
    """Overwrite without changing the length."""
    return (data[:at] + new + data[at + len(new) :])[: len(data)]


def field(data: bytes, at: int, rng: Random) -> bytes:
    """Overwrite a field of 1 to 8 bytes with a number."""
    width, order = rng.choice((1, 2, 4, 4, 8, 8)), rng.choice(("little", "little", "big"))
    at -= at % rng.choice((1, width))
    old = int.from_bytes(data[at : at + width], order)
    near = rng.choice((old, len(data), rng.randrange(len(data))))
    return replace(data, at, (number(rng, near) % (1 << 8 * width)).to_bytes(width, order))


def _flip(data: bytes, at: int, rng: Random) -> bytes:
    return replace(data, at, bytes([data[at] ^ 1 << rng.randrange(8)]))


def _byte(data: bytes, at: int, rng: Random) -> bytes:
    return replace(data, at, bytes([rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))]))


def _cut(data: bytes, at: int, rng: Random) -> bytes:
    return data[:at] + data[at + rng.choice((1, 4, 8, 64, 512)) :]


def _truncate(data: bytes, at: int, rng: Random) -> bytes:  # noqa: ARG001
    return data[:at]


def _repeat(data: bytes, at: int, rng: Random) -> bytes:
    piece = data[at : at + rng.choice((1, 8, 40, 200))]
    return data[:at] + piece * rng.choice((2, 2, 3, 50)) + data[at + len(piece) :]


def _insert(data: bytes, at: int, rng: Random) -> bytes:
    return data[:at] + rng.choice((rng.randbytes(4), rng.choice(TEXTS), bytes(16))) + data[at:]


def _copy(data: bytes, at: int, rng: Random) -> bytes:
    """Copy a piece from elsewhere over another."""
    start, length = rng.randrange(len(data)), rng.choice((2, 8, 8, 24, 100))
    return replace(data, at, data[start : start + length])


def _text(data: bytes, at: int, rng: Random) -> bytes:
    return replace(data, at, rng.choice(TEXTS)[:64])


_MUTATIONS = (
    *(field,) * 6,
    *(_flip,) * 3,
    *(_byte,) * 3,
    *(_copy,) * 3,
    _cut,
    _truncate,
    _repeat,
    _insert,
    _text,
)
