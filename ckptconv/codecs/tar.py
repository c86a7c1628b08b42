"""The members of a tar file (POSIX.1-1988 ustar, with GNU and pax long names)."""

from __future__ import annotations

from ckptconv.errors import ContainerError
from ckptconv.io.reader import Source

_BLOCK = 512
_MAX_MEMBERS, _MAX_NAME = 10_000, 64 << 10
_FILE, _LONG_NAME, _PAX = (b"0", b"\0", b"7"), b"L", b"x"


def is_tar(source: Source) -> bool:
    """Tell whether the first block is a tar header with a right checksum."""
    head = source.head(_BLOCK)
    return len(head) == _BLOCK and head[257:262] == b"ustar" and _checksum(head)


def members(source: Source) -> dict[str, Source]:
    """Return name → bytes of each regular file, in order.

    Raises:
        ContainerError: damaged, a name that stands twice, or more than 10,000 members.
    """
    found: dict[str, Source] = {}
    offset, name = 0, ""
    for _ in range(_MAX_MEMBERS):
        head = source.read(offset, _BLOCK)
        if not any(head):
            return found
        size = _number(head[124:136])
        if not _checksum(head) or size < 0:
            raise _damaged(source, f"a header at {offset}")
        data, kind = source.window(offset + _BLOCK, size), head[156:157]
        offset += _BLOCK + -(-size // _BLOCK) * _BLOCK
        if kind == _LONG_NAME:
            name = _text(data.read(0, min(size, _MAX_NAME)))
        elif kind == _PAX:
            name = _pax_path(data.read(0, min(size, _MAX_NAME)), name)
        else:
            name = name or _joined(_text(head[345:500]), _text(head[:100]))
            if name in found:
                raise _damaged(source, f"distinct names, not {name!r} twice")
            if kind in _FILE:
                found[name] = data
            name = ""
    raise _damaged(source, f"at most {_MAX_MEMBERS} members")


def _checksum(head: bytes) -> bool:
    return _number(head[148:156]) == sum(head) - sum(head[148:156]) + 8 * ord(" ")


def _number(field: bytes) -> int:
    """Return an octal number, or one in base 256; -1 where it is neither."""
    if field[0] & 0x80:
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    try:
        return int(field.strip(b" \0") or b"0", 8)
    except ValueError:
        return -1


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _joined(prefix: str, name: str) -> str:
    return f"{prefix}/{name}" if prefix else name


def _pax_path(data: bytes, name: str) -> str:
    """Return the path of pax records ``<length> path=<value>\\n``, or ``name``."""
    for record in data.split(b"\n"):
        key, _, value = record.partition(b" ")[2].partition(b"=")
        if key == b"path":
            return _text(value)
    return name


def _damaged(source: Source, expected: str) -> ContainerError:
    return ContainerError("damaged tar file", file=source.path, expected=expected)
