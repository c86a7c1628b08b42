"""verify --network of files of Keras 2, run by tf_keras, which computes as it did."""

from __future__ import annotations

import json

import pytest

import ckptconv
from tests.conftest import ROOT

pytest.importorskip("torch")
pytest.importorskip("tf_keras")
GOLDEN = ROOT / "tests" / "golden" / "keras"
NOT_RUN = ("cudnn", "lambda", "tf212_zip")
"""CuDNN's layers need a GPU; a Lambda is code; tf_keras reads no archives but its own."""


def whole():
    """Return the files of whole models of Keras 2 that tf_keras reads."""
    said = [p for p in GOLDEN.glob("*.json") if not p.name.endswith(".weights.json")]
    found = [GOLDEN / json.loads(path.read_text())["file"] for path in said]
    named = [p for p in found if p.stem.endswith("_full") or p.suffix == ".keras"]
    old = [p for p in named if p.stem.startswith(("keras2", "tf2", "tfkeras"))]
    return sorted(p for p in old if not any(word in p.stem for word in NOT_RUN))


@pytest.mark.parametrize("path", whole(), ids=lambda path: path.name)
def test_in_its_own_keras(path, tmp_path):
    network = tmp_path / "net.py"
    ckptconv.convert(path, tmp_path / "m.pt", to="torch", network=network)
    report = ckptconv.verify(path, tmp_path / "m.pt", run=True, network=network)
    assert report.ok, report.network.cause
    assert report.frameworks[0].startswith("tf_keras")
    assert max(one.run.difference.max_abs for one in report.network.runs) < 3e-7
