"""Vectors files that are damaged, or made to do harm: one clear error."""

import zipfile

import numpy as np
import pytest

from ckptconv.errors import CkptconvError
from ckptconv.verification import npz
from ckptconv.verification.golden import golden
from ckptconv.verification.replay import replay
from tests.verification.test_verify import converted


def test_damaged_vectors(tmp_path):
    source, _ = converted(tmp_path, "torch")
    path = tmp_path / "v.npz"
    golden(source, path)
    good = path.read_bytes()
    arrays = npz.read(path)
    for cut in (0, 3, 100, len(good) // 2, len(good) - 1):
        path.write_bytes(good[:cut])
        with pytest.raises(CkptconvError, match=r"not a vectors file|damaged archive"):
            replay(source, path)
    meta = npz.decode(arrays["meta"])
    wrong = [
        {**meta, "schema": "other"},
        {**meta, "layers": [{}]},
        {**meta, "layers": [{**meta["layers"][0], "hidden_size": 1 << 60}]},
        {
            **meta,
            "layers": [
                {**meta["layers"][0], "tolerances": {"torch CPU": "x"}},
                *meta["layers"][1:],
            ],
        },
        {**meta, "fingerprint": {"float32": "x"}},
        {**meta, "source": {}},
        [],
    ]
    for document in wrong:
        npz.write(path, {**arrays, "meta": npz.encode(document)})
        with pytest.raises(CkptconvError, match="not a vectors file"):
            replay(source, path)
    for name in ("0.x", "0.lengths", "1.last_h"):
        npz.write(path, {**arrays, name: arrays[name][1:]})
        with pytest.raises(CkptconvError, match="not a vectors file"):
            replay(source, path)
    np.savez(path, **{**arrays, "0.x": np.array([object()])})
    with pytest.raises(CkptconvError, match="not a vectors file"):
        replay(source, path)


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': (), 'fortran_order': False, 'shape': (1,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (True,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (%s1,)}" % ("-" * 5000),
        "{[]: 1}",
    ],
)
def test_arrays_whose_header_is_no_header(tmp_path, header):
    line = header.encode() + b"\n"
    with zipfile.ZipFile(tmp_path / "v.npz", "w") as archive:
        archive.writestr(
            "meta.npy", b"\x93NUMPY\1\0" + len(line).to_bytes(2, "little") + line + bytes(4)
        )
    with pytest.raises(CkptconvError, match="not a vectors file"):
        npz.read(tmp_path / "v.npz")


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_damaged_compressed_vectors(tmp_path, method):
    path = tmp_path / "v.npz"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("meta.npy", bytes(1000))
    good = path.read_bytes()
    for at in range(39, 60):
        path.write_bytes(good[:at] + b"\xff" + good[at + 1 :])
        with pytest.raises(CkptconvError, match=f"{path}: "):
            npz.read(path)
