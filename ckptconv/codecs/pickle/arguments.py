"""The arguments of pickle opcodes: each function returns (value, position after it)."""

from __future__ import annotations

import codecs
import struct
from collections.abc import Callable
from typing import Any

_MAX_LONG, _MAX_LINE, _MAX_DIGITS = 255, 4096, 640

Argument = Callable[[bytes, int], tuple[Any, int]]


def counted(layout: str, decode: Callable[[bytes], Any], limit: int | None = None) -> Argument:
    """Return the reader of a length and as many bytes."""
    form = struct.Struct(layout)
    unpack, size = form.unpack_from, form.size

    def read(data: bytes, position: int) -> tuple[Any, int]:
        start = position + size
        (length,) = unpack(data, position)
        stop = start + length
        if not start <= stop <= len(data) or (limit is not None and length > limit):
            raise ValueError(f"a length of {length}")
        return decode(data[start:stop]), stop

    return read


def line(decode: Callable[[bytes], Any]) -> Argument:
    """Return the reader of one line of text."""

    def read(data: bytes, position: int) -> tuple[Any, int]:
        stop = data.find(b"\n", position, position + _MAX_LINE)
        if stop < 0:
            raise ValueError("a line without an end")
        return decode(data[position:stop].removesuffix(b"\r")), stop + 1

    return read


def name(data: bytes, position: int) -> tuple[tuple[str, str], int]:
    """Return (module, attribute) of two lines."""
    module, position = _utf8_line(data, position)
    attribute, position = _utf8_line(data, position)
    return (module, attribute), position


def utf8(raw: bytes) -> str:
    """Python writes lone surrogates too."""
    return raw.decode("utf-8", "surrogatepass")


def old_text(raw: bytes) -> str | bytes:
    """Return a str of Python 2: text where it is UTF-8, else bytes."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw


def quoted(raw: bytes) -> str | bytes:
    """Return a quoted and escaped str of Python 2."""
    if len(raw) < 2 or raw[:1] != raw[-1:] or raw[:1] not in (b"'", b'"'):
        raise ValueError("a text without quotes")
    return old_text(codecs.escape_decode(raw[1:-1])[0])


def decimal(raw: bytes) -> int | bool:
    """Return an INT, LONG, GET or PUT argument; 00 and 01 are False and True."""
    if len(raw) > _MAX_DIGITS:
        raise ValueError("an integer of many digits")
    return raw == b"01" if raw in (b"00", b"01") else int(raw.removesuffix(b"L"))


def binary(raw: bytes) -> int:
    return int.from_bytes(raw, "little", signed=True)


_utf8_line = line(utf8)
GET = line(decimal)
TEXT = line(lambda raw: raw.decode("raw_unicode_escape"))
QUOTED = line(quoted)
FLOAT = line(float)
LONG1, LONG4 = counted("<B", binary), counted("<I", binary, _MAX_LONG)
