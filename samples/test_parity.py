"""A parity test for your own repository: run it with pytest after each training.

Set CKPT_SOURCE to the checkpoint that was trained, and CKPT_TARGET to what was made of it; without
them the sample model beside this file is converted and tested.
"""

import os
from pathlib import Path

import pytest

import ckptconv

SAMPLE = Path(__file__).with_name("tagger.pt")


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    source = Path(os.environ.get("CKPT_SOURCE", SAMPLE))
    if "CKPT_TARGET" in os.environ:
        return source, Path(os.environ["CKPT_TARGET"])
    target = tmp_path_factory.mktemp("parity") / "model.ckpt"
    ckptconv.convert(source, target, to="mindspore")
    return source, target


def test_same_model(checkpoints):
    """Every tensor has its counterpart and every layer the same outputs, in NumPy."""
    report = ckptconv.verify(*checkpoints)
    assert report.ok, "\n".join(layer.cause for layer in report.layers if not layer.ok)


def test_same_outputs_in_the_frameworks(checkpoints):
    """The same, each file loaded and run by its own framework."""
    pytest.importorskip("torch")
    pytest.importorskip("mindspore")
    report = ckptconv.verify(*checkpoints, run=True)
    assert report.ok, "\n".join(layer.cause for layer in report.layers if not layer.ok)


def test_replay(checkpoints, tmp_path):
    """What the device will be asked to reproduce; there: device="Ascend"."""
    source, target = checkpoints
    ckptconv.golden(source, tmp_path / "vectors.npz")
    report = ckptconv.replay(target, tmp_path / "vectors.npz", reference_only=True)
    assert report.ok, "\n".join(layer.cause for layer in report.layers if not layer.ok)
