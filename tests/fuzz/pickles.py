"""Mutations of pickles, opcode by opcode."""

from __future__ import annotations

import pickletools
import struct
from collections.abc import Iterator
from functools import lru_cache
from random import Random

from tests.fuzz.bits import TEXTS, bytewise, number

_NAMES = [
    b"os\nsystem",
    b"builtins\neval",
    b"posix\nsystem",
    b"builtins\ngetattr",
    b"importlib\nimport_module",
    b"antigravity\nx",
    b"torch._utils\n_rebuild_tensor_v2",
    b"torch._utils\n_rebuild_tensor_v3",
    b"torch._utils\n_rebuild_qtensor",
    b"torch._utils\n_rebuild_sparse_tensor",
    b"torch._utils\n_rebuild_parameter",
    b"torch._utils\n_rebuild_device_tensor_from_numpy",
    b"torch._tensor\n_rebuild_from_type_v2",
    b"torch\nSize",
    b"torch\nFloatStorage",
    b"torch\nDoubleStorage",
    b"torch\nbfloat16",
    b"torch.storage\nUntypedStorage",
    b"collections\nOrderedDict",
    b"collections\ndefaultdict",
    b"collections\nCounter",
    b"builtins\nset",
    b"builtins\nbytearray",
    b"_codecs\nencode",
    b"copyreg\n_reconstructor",
    b"numpy.core.multiarray\n_reconstruct",
    b"numpy.core.multiarray\nscalar",
    b"numpy\ndtype",
    b"numpy._core.numeric\n_frombuffer",
    b"torch.nn.modules.rnn\nLSTM",
]
LAUGHS = b"K\1" + b"2\x86" * 40
"""A tuple that holds one tuple twice, which holds one twice, and so on: written out, no end."""
_PLAIN = [
    bytes([op]) for op in b"()]}tldRbsuae012NQ.o\x81\x85\x86\x87\x88\x89\x8f\x90\x91\x92\x93\x94"
]
_INTEGERS = {"INT", "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "LONG"}
_STRINGS = {"BINUNICODE", "SHORT_BINUNICODE", "SHORT_BINSTRING", "BINSTRING", "BINUNICODE8"}
_MEMO = {"BINGET", "BINPUT", "LONG_BINGET", "LONG_BINPUT"}


def mutate(data: bytes, rng: Random) -> bytes:
    """Return a pickle with one to four opcodes changed."""
    ops = list(_split(data))
    if not ops or rng.random() < 0.1:
        return bytewise(data, rng)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        _change(ops, rng)
    return b"".join(raw for _, raw, _ in ops)


@lru_cache(64)
def _split(data: bytes) -> tuple[tuple[str, bytes, object], ...]:
    """Return (name, bytes, argument) of each opcode; what follows STOP is one piece."""
    return tuple(_operations(data))


def _operations(data: bytes) -> Iterator[tuple[str, bytes, object]]:
    try:
        found = list(pickletools.genops(data))
    except ValueError:
        return
    ends = [at for _, _, at in found[1:]] + [found[-1][2] + 1]
    for (op, argument, start), stop in zip(found, ends, strict=True):
        yield op.name, data[start:stop], argument
    if ends[-1] < len(data):
        yield "", data[ends[-1] :], None


def _change(ops: list[tuple[str, bytes, object]], rng: Random) -> None:
    at = rng.randrange(len(ops))
    if rng.random() < 0.6:  # numbers decide most, and are few
        at = rng.choice([i for i, op in enumerate(ops) if op[2] is not None] or [at])
    name, _, argument = ops[at]
    chance = rng.random()
    if chance < 0.5 and argument is not None:
        ops[at] = (name, _argument(name, argument, rng), argument)
    elif chance < 0.6:
        del ops[at : at + rng.choice((1, 1, 2, 5))]
        ops or ops.append(("", b".", None))
    elif chance < 0.7:
        ops.insert(at, ("", _snippet(rng), None))
    elif chance < 0.8:
        ops[at] = ("", _snippet(rng), None)
    elif chance < 0.85:
        other = rng.randrange(len(ops))
        ops[at], ops[other] = ops[other], ops[at]
    elif chance < 0.95:
        start, length = rng.randrange(len(ops)), rng.choice((1, 3, 10, 30))
        ops[at:at] = ops[start : start + length]
    else:
        ops[at : at + 1] = [ops[at]] * rng.choice((2, 3, 100, 2000))


def _argument(name: str, argument: object, rng: Random) -> bytes:
    """Return the opcode with another argument of its kind."""
    if name in _INTEGERS and isinstance(argument, int):
        return integer(number(rng, argument))
    if name in _STRINGS:
        old = str(argument).encode("utf-8", "surrogatepass")
        return text(rng.choice((rng.choice(TEXTS), old + b"x", old[1:], b"cpu", b"0", b"storage")))
    if name in _MEMO:
        return rng.choice((b"h", b"q")) + bytes([rng.randrange(256)])
    if name == "GLOBAL":
        return b"c" + rng.choice(_NAMES) + b"\n"
    return _snippet(rng)


def integer(value: int) -> bytes:
    size = value.bit_length() // 8 + 1
    return b"\x8a" + bytes([size]) + value.to_bytes(size, "little", signed=True)


def text(value: bytes) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value


def _snippet(rng: Random) -> bytes:
    chance = rng.random()
    if chance < 0.5:
        return rng.choice(_PLAIN)
    if chance < 0.65:
        return integer(number(rng))
    if chance < 0.75:
        return text(rng.choice(TEXTS))
    if chance < 0.85:
        return b"c" + rng.choice(_NAMES) + b"\n"
    if chance < 0.95:
        return (
            b"c" + rng.choice(_NAMES) + b"\n" + rng.choice((b")R", b"(NtR", b"]\x85R", b")\x81}b"))
        )
    return rng.choice(
        (
            b"X\xff\xff\xff\x7f",
            b"\x8e" + b"\xff" * 8,
            b"j\xff\xff\xff\x7f",
            b"G" + b"\x7f" * 8,
            LAUGHS,
        )
    )
