"""The opcodes of pickle protocols 0 to 5 (Lib/pickletools.py), as a table."""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Any

from ckptconv.codecs.pickle.arguments import (
    FLOAT,
    GET,
    LONG1,
    LONG4,
    QUOTED,
    TEXT,
    Argument,
    counted,
    line,
    name,
    old_text,
    utf8,
)

Row = tuple[Callable[..., None], int, int, Callable[..., Any] | None]
"""The machine's method, what the opcode is charged, and how its argument is read: by ``unpack`` of
a struct of this many bytes, by a function if there are 0, or not at all."""
_LEAST = 16  # what the cheapest opcode is charged, so that their number is bounded too
_BYTE, _UINT = Struct("<B"), Struct("<I")
_UTF8_1, _UTF8_4, _UTF8_8 = (counted(n, utf8) for n in ("<B", "<I", "<Q"))
_RAW1, _RAW4, _RAW8 = (counted(n, bytes) for n in ("<B", "<I", "<Q"))
_OLD1, _OLD4 = (counted(n, old_text) for n in ("<B", "<i"))

# opcode: (how its argument is read, the machine's method, bytes it may take)
_OPCODES: dict[bytes, tuple[Struct | Argument | None, str, int]] = {
    b"(": (None, "mark", 80),
    b"0": (None, "pop", 0),
    b"1": (None, "pop_mark", 0),
    b"2": (None, "dup", 8),
    b"F": (FLOAT, "push", 32),
    b"G": (Struct(">d"), "push", 32),
    b"I": (GET, "push", 320),
    b"L": (GET, "push", 320),
    b"J": (Struct("<i"), "push", 40),
    b"K": (_BYTE, "push", 8),
    b"M": (Struct("<H"), "push", 40),
    b"\x8a": (LONG1, "push", 300),
    b"\x8b": (LONG4, "push", 300),
    b"N": (None, "none", 8),
    b"\x88": (None, "true", 8),
    b"\x89": (None, "false", 8),
    b")": (None, "empty_tuple", 8),
    b"P": (line(utf8), "persid", 200),
    b"Q": (None, "binpersid", 200),
    b"S": (QUOTED, "push_text", 64),
    b"V": (TEXT, "push_text", 64),
    b"T": (_OLD4, "push_text", 64),
    b"U": (_OLD1, "push_text", 64),
    b"X": (_UTF8_4, "push_text", 64),
    b"\x8c": (_UTF8_1, "push_text", 64),
    b"\x8d": (_UTF8_8, "push_text", 64),
    b"B": (_RAW4, "push_text", 48),
    b"C": (_RAW1, "push_text", 48),
    b"\x8e": (_RAW8, "push_text", 48),
    b"\x96": (_RAW8, "push_text", 48),
    b"t": (None, "tuple", 64),
    b"\x85": (None, "tuple1", 56),
    b"\x86": (None, "tuple2", 64),
    b"\x87": (None, "tuple3", 72),
    b"l": (None, "list", 64),
    b"]": (None, "empty_list", 96),
    b"a": (None, "append", 16),
    b"e": (None, "appends", 16),
    b"d": (None, "dict", 240),
    b"}": (None, "empty_dict", 240),
    b"s": (None, "setitem", 0),
    b"u": (None, "setitems", 0),
    b"\x8f": (None, "empty_list", 96),
    b"\x90": (None, "appends", 16),
    b"\x91": (None, "list", 64),
    b"c": (name, "global", 8),
    b"\x93": (None, "stack_global", 8),
    b"i": (name, "inst", 256),
    b"o": (None, "obj", 256),
    b"R": (None, "reduce", 256),
    b"\x81": (None, "reduce", 256),
    b"\x92": (None, "newobj_ex", 256),
    b"b": (None, "build", 0),
    b"p": (GET, "put", 104),
    b"q": (_BYTE, "put", 104),
    b"r": (_UINT, "put", 104),
    b"\x94": (None, "memoize", 104),
    b"g": (GET, "get", 8),
    b"h": (_BYTE, "get", 8),
    b"j": (_UINT, "get", 8),
    b"\x80": (_BYTE, "pass", 0),
    b"\x95": (Struct("<Q"), "pass", 0),
    b".": (None, "stop", 0),
}


def resolve(machine: type, code: int) -> Row:
    """Return the row of an opcode with the machine's method in place of its name."""
    argument, method, price = _OPCODES.get(bytes([code]), (None, "unknown", 0))
    action, price = getattr(machine, f"_{method}"), max(price, _LEAST)
    if isinstance(argument, Struct):
        return action, price, argument.size, argument.unpack_from
    return action, price, 0, argument
