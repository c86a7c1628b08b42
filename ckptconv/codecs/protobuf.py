"""The wire format of protobuf, as far as checkpoints use it.

Source: the encoding chapter of the protocol buffers documentation.
"""

from __future__ import annotations

from collections.abc import Iterator

from ckptconv.errors import ContainerError
from ckptconv.io.reader import Source

VARINT, LENGTH = 0, 2


class Cursor:
    """Reads fields of a protobuf message through a small window, skipping contents."""

    _WINDOW = 1 << 13

    def __init__(self, source: Source) -> None:
        self.source, self.position = source, 0
        self._start, self._window = 0, b""

    def take(self, count: int, end: int) -> bytes:
        if count > end - self.position:
            raise self.damaged(f"{count} bytes", f"{end - self.position} left")
        first = self.position - self._start
        if not 0 <= first <= first + count <= len(self._window):
            size = max(count, min(self._WINDOW, self.source.size - self.position))
            self._start, self._window = self.position, self.source.read(self.position, size)
            first = 0
        self.position += count
        return self._window[first : first + count]

    def varint(self, end: int) -> int:
        at = self.position - self._start
        if at < len(self._window) and self.position < end and self._window[at] < 0x80:
            self.position += 1  # as most are
            return self._window[at]
        value = 0
        for shift in range(0, 70, 7):
            byte = self.take(1, end)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise self.damaged("a varint of at most 10 bytes", "a longer one")

    def fields(self, end: int) -> Iterator[tuple[int, int, int]]:
        """Yield (field number, wire type, value or end of the payload); callers may consume it."""
        while self.position < end:
            key = self.varint(end)
            wire, value = key & 7, self.varint(end)
            if wire not in (VARINT, LENGTH):
                raise self.damaged("protobuf wire type 0 or 2", wire)
            if wire == LENGTH and value > end - self.position:
                raise self.damaged(f"at most {end - self.position} bytes", f"a length of {value}")
            stop = self.position + value if wire == LENGTH else self.position
            yield key >> 3, wire, stop if wire == LENGTH else value
            self.position = stop

    def text(self, stop: int, limit: int) -> str:
        if stop - self.position > limit:
            raise self.damaged(f"a text of at most {limit} bytes", stop - self.position)
        try:
            return self.take(stop - self.position, stop).decode("utf-8")
        except UnicodeDecodeError:
            raise self.damaged("UTF-8 text", "other bytes") from None

    def damaged(self, expected: object, found: object) -> ContainerError:
        return ContainerError(
            f"truncated or damaged near byte {self.position}",
            file=self.source.path,
            expected=expected,
            found=found,
        )


def field_of(number: int, payload: bytes) -> bytes:
    """Return a length-delimited field."""
    return bytes([number << 3 | LENGTH]) + encode(len(payload)) + payload


def encode(value: int) -> bytes:
    """Return a varint."""
    if value < 0x80:
        return bytes((value,))
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
