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
        {**meta, "layers": []},
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


def test_outputs_and_states_are_judged_each_on_their_own_scale(tmp_path):
    """A cell state grows from step to step, and outputs never beyond 1."""
    torch = pytest.importorskip("torch")
    rnn = torch.nn.LSTM(3, 4)
    with torch.no_grad():
        for value in rnn.parameters():
            value.uniform_(-0.1, 0.1)
        rnn.bias_ih_l0[:12] += 4
    torch.save(
        {f"rnn.{name}": value for name, value in rnn.state_dict().items()}, tmp_path / "m.pt"
    )
    path = tmp_path / "v.npz"
    golden(tmp_path / "m.pt", path)
    arrays = npz.read(path)
    assert replay(tmp_path / "m.pt", path).ok
    right = {}
    for name in ("y", "last_h", "last_c"):
        npz.write(path, {**arrays, f"0.{name}": arrays[f"0.{name}"] + 7e-6})
        report = replay(tmp_path / "m.pt", path)
        right[name] = [run.ok for run in report.layers[0].runs]
        assert report.ok == all(right[name])
        assert [run.state for run in report.layers[0].runs] == ["", "h_n", "c_n"]
    assert right == {"y": [False, True, True], "last_h": [True, False, True], "last_c": [True] * 3}
