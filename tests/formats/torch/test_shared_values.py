"""A tuple that holds one tuple twice, which holds one twice, and so on: small, and without end
to whoever writes it out or compares it."""

from __future__ import annotations

import signal
import struct
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest

from ckptconv import api
from ckptconv.errors import CkptconvError
from ckptconv.inspection import describe
from tests.fuzz.pickles import LAUGHS, text

_STORAGE = (
    b"(" + text(b"storage") + b"ctorch\nFloatStorage\n" + text(b"0") + text(b"cpu") + b"K\6tQ"
)
_VIEW = _STORAGE + b"K\0K\2K\3\x86K\3K\1\x86"  # of (2, 3)
_DICT = b"ccollections\nOrderedDict\n)R"
_TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n(" + _VIEW + b"\x89NtR"
_MEMBERS = b"".join(text(name) + _DICT for name in (b"_parameters", b"_buffers", b"_modules"))
VALUES = {
    "bits of a view": b"ctorch._utils\n_rebuild_tensor_v2\n(" + _VIEW + b"\x89N" + LAUGHS + b"tR",
    "dtype of a view": b"ctorch._utils\n_rebuild_tensor_v3\n(" + _VIEW + b"\x89N" + LAUGHS + b"tR",
    "maker of a subclass": b"ctorch._tensor\n_rebuild_from_type_v2\n(" + LAUGHS + b"K\0)NtR",
    "quantization": b"ctorch._utils\n_rebuild_qtensor\n("
    + _VIEW
    + b"("
    + LAUGHS
    + b"K\1K\1t\x89NtR",
    "storage class": _TENSOR.replace(b"ctorch\nFloatStorage\n", LAUGHS),
    "storage": _TENSOR.replace(text(b"storage"), LAUGHS),
    "shape": _TENSOR.replace(b"K\2K\3\x86", LAUGHS),
    "class of packed weights": b"ctorch\nScriptObject\n)\x81" + _TENSOR + LAUGHS + b"\x86b",
    "code of an array": b"cnumpy.core.multiarray\n_reconstruct\n)R(K\1K\2\x85cnumpy\ndtype\n("
    + LAUGHS
    + b"tR\x89C\2abtb",
    "buffers that are not kept": b"ca.b\nC\n)\x81}("
    + _MEMBERS.replace(
        text(b"_buffers") + _DICT, text(b"_buffers") + b"}" + text(b"w") + _TENSOR + b"s"
    )
    + text(b"_non_persistent_buffers_set")
    + b"]"
    + LAUGHS
    + b"aub",
    "any value": LAUGHS,
}


@pytest.mark.parametrize("name", VALUES)
def test_nothing_writes_it_out(tmp_path: Path, name: str) -> None:
    path = tmp_path / "model.pt"
    data = b"\x80\2" + b"}(" + text(b"fc") + VALUES[name] + text(b"out.weight") + _TENSOR + b"u."
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data.pkl", data)
        archive.writestr("model/data/0", struct.pack("<6f", 1, 2, 3, 4, 5, 6))
    signal.setitimer(signal.ITIMER_VIRTUAL, 20)  # which ends the process
    try:
        for step in (
            describe,
            lambda file: api.convert(file, tmp_path / "to.ckpt", to="mindspore"),
        ):
            with suppress(CkptconvError):
                step(path)
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
