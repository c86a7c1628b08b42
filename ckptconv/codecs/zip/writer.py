"""Writing stored zip members, aligned, in one pass, the same bytes each time (APPNOTE 6.3)."""

from __future__ import annotations

import struct
from collections.abc import Callable

from isal.isal_zlib import crc32

from ckptconv.tensors.tensor import Tensor
from ckptconv.tensors.writer import Sink

ALIGNMENT = 64
_ONES, _ONES_SHORT = 0xFFFFFFFF, 0xFFFF
_DATE = 0x21  # 1980-01-01, the first that the format knows
_VERSION, _VERSION64 = 20, 45
_ZIP64, _PADDING = 1, 0x4246
_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_CRC_FIELD = 14


class ZipWriter:
    """Writes members one after the other and, at the end, their directory.

    Args:
        large: from which size or offset on zip64 fields are used.
    """

    def __init__(self, sink: Sink, large: int = _ONES) -> None:
        self._sink, self._large = sink, large
        self._directory: list[bytes] = []

    def add(self, name: str, data: bytes) -> None:
        self._add(name, len(data), lambda: self._write(data))

    def add_tensor(self, name: str, tensor: Tensor) -> None:
        """Copy a tensor's bytes; the checksum is filled into the header afterwards."""
        self._add(name, tensor.nbytes, lambda: self._sink.write_tensor(tensor, crc=0))

    def close(self) -> None:
        """Write the directory, with zip64's end where the plain one cannot tell."""
        start, count = self._sink.position, len(self._directory)
        for entry in self._directory:
            self._sink.write(entry)
        end = self._sink.position
        size = end - start
        if count >= _ONES_SHORT or end >= self._large:
            fields = (44, _VERSION64, _VERSION64, 0, 0, count, count, size, start)
            self._sink.write(struct.pack("<4sQ2H2L4Q", b"PK\6\6", *fields))
            self._sink.write(struct.pack("<4sLQL", b"PK\6\7", 0, end, 1))
        count, size, start = min(count, _ONES_SHORT), self._narrow(size), self._narrow(start)
        self._sink.write(struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, size, start, 0))

    def _write(self, data: bytes) -> int:
        self._sink.write(data)
        return crc32(data)

    def _add(self, name: str, size: int, fill: Callable[[], int]) -> None:
        header, text = self._sink.position, name.encode("ascii")
        wide = struct.pack("<2H2Q", _ZIP64, 16, size, size) if size >= self._large else b""
        room = -(header + _LOCAL.size + len(text) + len(wide) + 4) % ALIGNMENT
        extra = wide + struct.pack("<2H", _PADDING, room) + bytes(room)
        version, narrow = (_VERSION64 if wide else _VERSION), self._narrow(size)
        fields = (version, 0, 0, 0, _DATE, 0, narrow, narrow, len(text), len(extra))
        self._sink.write(_LOCAL.pack(b"PK\3\4", *fields) + text + extra)
        crc = fill()
        self._sink.patch(header + _CRC_FIELD, crc.to_bytes(4, "little"))
        self._directory.append(self._entry(text, crc, size, header))

    def _entry(self, text: bytes, crc: int, size: int, header: int) -> bytes:
        words = ([size, size] if size >= self._large else []) + (
            [header] if header >= self._large else []
        )
        wide = struct.pack(f"<2H{len(words)}Q", _ZIP64, 8 * len(words), *words) if words else b""
        version, narrow = (_VERSION64 if wide else _VERSION), self._narrow(size)
        fields = (version, version, 0, 0, 0, _DATE, crc, narrow, narrow, len(text), len(wide))
        offset = self._narrow(header)
        return _CENTRAL.pack(b"PK\1\2", *fields, 0, 0, 0, 0, offset) + text + wide

    def _narrow(self, number: int) -> int:
        return number if number < self._large else _ONES
