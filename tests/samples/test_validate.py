"""samples/validate_roundtrip.py: silent on a good copy, one line for each difference."""

from __future__ import annotations

import runpy
import shutil

import numpy as np
import pytest

import ckptconv


@pytest.fixture
def run(samples, tmp_path, monkeypatch, capsys):
    shutil.copy(samples / "tagger.pt", tmp_path)
    monkeypatch.chdir(tmp_path)
    module = runpy.run_path(str(samples / "validate_roundtrip.py"))

    def main(*arguments):
        monkeypatch.setattr("sys.argv", ["validate_roundtrip.py", "tagger.pt", *arguments])
        code = module["main"]()
        return code, *capsys.readouterr()

    return main


@pytest.mark.parametrize("target", ["m.ckpt", "m.h5", "m.pt"])
def test_a_good_copy(run, target):
    said = f"{target}: the same model as tagger.pt, bit for bit there and back\n"
    assert run(target) == (0, said, "")
    assert run(target) == (0, said, "")  # after each training, over the last one


def test_in_the_frameworks(run):
    pytest.importorskip("torch")
    pytest.importorskip("mindspore")
    assert run("m.ckpt", "--run")[0] == 0


def test_what_cannot_be_converted(run):
    code, said, complaint = run("m.weights.h5")
    assert (code, said) == (1, "")
    assert "try kinds={'norm': 'LayerNorm'}" in complaint
    assert run("m.weights.h5", "--kind", "norm=LayerNorm")[0] == 0


def test_a_copy_that_differs(run, monkeypatch):
    """Somebody changes the file behind the conversion's back."""
    convert = ckptconv.convert

    def meddle(source, target, **options):
        convert(source, target, **options)
        arrays = ckptconv.to_state_dict(ckptconv.load(target), "mindspore")
        arrays["lstm.weight_hh_l0"] = np.roll(arrays["lstm.weight_hh_l0"], 16, axis=0)
        graph = ckptconv.from_state_dict(arrays, "mindspore")
        ckptconv.save(graph, target, to="mindspore", force=True)

    monkeypatch.setattr(ckptconv, "convert", meddle)
    code, said, complaint = run("m.ckpt")
    assert (code, said) == (1, "")
    assert "m.ckpt: lstm" in complaint
    assert "lstm.weight_hh_l0" in complaint
