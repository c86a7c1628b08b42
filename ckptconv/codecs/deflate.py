"""Compressed bytes, inflated to anonymous temporary files that vanish with the process."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator

from isal.isal_zlib import crc32

from ckptconv.errors import ContainerError
from ckptconv.io.reader import Owner, Source

_PIECE = 1 << 20
_LEAST, _RATIO = 256 << 20, 64
RAW, GZIP = -15, 31
"""zlib's window bits for a zip member and for a gzip file."""


class Inflated(Owner):
    """A Source whose bytes are made when they are first read.

    Args:
        path: the compressed file, for messages.
        size: of what the chunks add up to; they never give more.
        chunks: makes the bytes, and raises ContainerError where they are damaged.
    """

    def __init__(self, path: str, size: int, chunks: Callable[[], Iterator[bytes]]) -> None:
        self.path, self.size = path, size
        self._chunks = chunks

    def read_into(self, buffer: memoryview, offset: int) -> None:
        self.fileno()
        super().read_into(buffer, offset)

    def fileno(self) -> int:
        if self._fd < 0:
            self._fd = self._fill()
        return self._fd

    def check_unchanged(self) -> None:
        """Nobody else can reach an anonymous file."""

    def window(self, offset: int, size: int) -> Source:
        self.fileno()
        return super().window(offset, size)

    def _fill(self) -> int:
        import tempfile  # slow to import, and rarely needed

        try:
            with tempfile.TemporaryFile() as file:
                for chunk in self._chunks():
                    file.write(chunk)
                file.flush()
                return os.dup(file.fileno())
        except OSError as error:
            reason = f"cannot be inflated to a temporary file: {error.strerror}"
            raise ContainerError(reason, file=self.path, hint="another TMPDIR") from error


def most(packed: int) -> int:
    """Return how many bytes may be inflated from ``packed`` ones; weights hardly compress."""
    return max(_LEAST, _RATIO * packed)


def gunzipped(source: Source) -> Source:
    """Return what a gzip file inflates to, in an anonymous temporary file.

    Raises:
        ContainerError: damaged, or more than 64 times its size and 256 MiB.
    """
    inner = Inflated(source.path, 0, lambda: _gunzip(source))
    inner.size = os.fstat(inner.fileno()).st_size
    return inner


def _gunzip(source: Source) -> Iterator[bytes]:
    total, limit = 0, most(source.size)
    for chunk in stream(source, GZIP):
        total += len(chunk)
        if total > limit:
            raise ContainerError(
                "inflates to too much", file=source.path, expected=f"{limit} bytes"
            )
        yield chunk


def inflate(source: Source, size: int, crc: int, name: str) -> Iterator[bytes]:
    """Yield what a zip member inflates to: exactly ``size`` bytes with this CRC-32.

    Raises:
        ContainerError: damaged, more or fewer bytes, or another CRC (0 is not checked).
    """
    total = found = 0
    for chunk in stream(source, RAW, name):
        total, found = total + len(chunk), crc32(chunk, found)
        if total > size:
            break
        yield chunk
    if total != size or crc not in (0, found):
        raise ContainerError(
            "a compressed member is damaged",
            file=source.path,
            tensor=name,
            expected=f"{size} bytes with CRC-32 {crc:08x}",
            found=f"{'more' if total > size else total} bytes with CRC-32 {found:08x}",
        )


def stream(source: Source, bits: int, name: str | None = None) -> Iterator[bytes]:
    """Yield the inflated bytes in pieces of at most 1 MiB.

    Raises:
        ContainerError: not one whole deflate stream.
    """
    machine, end = zlib.decompressobj(bits), 0
    try:
        while end < source.size and not machine.eof:
            piece = source.read(end, min(_PIECE, source.size - end))
            end += len(piece)
            full = True  # a full piece of output may leave more behind than unused input
            while (piece or full) and not machine.eof:
                chunk = machine.decompress(piece, _PIECE)
                piece, full = machine.unconsumed_tail, len(chunk) == _PIECE
                yield chunk
    except zlib.error as error:
        raise ContainerError(f"damaged: {error}", file=source.path, tensor=name) from None
    if not machine.eof:
        raise ContainerError("compressed bytes are truncated", file=source.path, tensor=name)
    if end - len(machine.unused_data) != source.size:
        raise ContainerError("bytes after the compressed ones", file=source.path, tensor=name)
