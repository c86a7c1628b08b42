"""The examples of MindSpore's API mapping pages: each sample finds both frameworks equal."""

from __future__ import annotations

import runpy

import pytest

NAMES = ["mapping_lstm", "mapping_lstm_cell", "mapping_rnn", "mapping_keras_lstm"]


@pytest.mark.parametrize("name", NAMES)
def test_sample(name, samples, tmp_path, capsys):
    for framework in ("mindspore", "keras", "torch"):
        pytest.importorskip(framework)
    module = runpy.run_path(str(samples / f"{name}.py"))
    assert module["main"](tmp_path) == 0
    assert "differ" in capsys.readouterr().out


@pytest.mark.parametrize("name", NAMES)
def test_sample_notices_a_difference(name, samples, tmp_path):
    pytest.importorskip("mindspore")
    module = runpy.run_path(str(samples / f"{name}.py"))
    module["main"].__globals__["TOLERANCE"] = -1.0
    assert module["main"](tmp_path) == 1
