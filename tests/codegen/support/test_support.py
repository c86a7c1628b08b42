"""Each row of the table of options, shown on the real frameworks."""

from __future__ import annotations

import pytest

import ckptconv
from tests.codegen.support import keras_rows, torch_rows
from tests.documentation.fates import TABLE, Fate

mindspore = pytest.importorskip("mindspore")
CHECKS = torch_rows.CHECKS | keras_rows.CHECKS


@pytest.mark.parametrize("entry", TABLE, ids=lambda r: f"{r.framework}: {r.option}")
def test_row(entry, tmp_path):
    CHECKS[entry.framework, entry.option](tmp_path)


def test_no_check_is_for_a_row_that_is_gone():
    assert set(CHECKS) == {(entry.framework, entry.option) for entry in TABLE}


def test_every_row_says_what_to_do_or_needs_nothing():
    for entry in TABLE:
        assert entry.action or entry.fate in (Fate.NOTHING, Fate.EXACT)
        assert "|" not in entry.option + entry.action


REAL = {
    # file → the activations that its refusal names, in order
    "dl4j__bidirectional_lstm_tensorflow_2.h5": ["hard_sigmoid"],
    "dl4j__lstm_theano_1.h5": ["hard_sigmoid"],
    "dl4j__tfkeras_rnn_101.h5": ["hard_sigmoid"],
    "dl4j__tfkeras_rnn_133.h5": ["relu"],
    "dl4j__tfkeras_rnn_188.h5": ["relu"],
}

NEEDED = {"dl4j__tfkeras_rnn_133.h5": ["relu", "hard_sigmoid"]}


@pytest.mark.parametrize("name", REAL)
def test_real_files_with_other_activations(name, real, tmp_path):
    path, target = real / "keras" / name, tmp_path / "m.ckpt"
    for activation in REAL[name]:
        with pytest.raises(ckptconv.LossyError, match=rf"allow=\['{activation}'\]"):
            ckptconv.convert(path, target, to="mindspore")
    report = ckptconv.convert(path, target, to="mindspore", allow=NEEDED.get(name, REAL[name]))
    notes = [note for layer in report.layers for note in layer.notes]
    for activation in REAL[name]:
        assert any(activation in note and "as allowed" in note for note in notes)
    assert mindspore.load_checkpoint(str(target))
