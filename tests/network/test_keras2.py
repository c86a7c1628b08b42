"""What a Keras before 3 computes otherwise, held against what it computed itself."""

from __future__ import annotations

import numpy as np
import pytest

from ckptconv import LossyError
from tests.conftest import ROOT
from tests.network.test_called import edit
from tests.network.written import close, run_mindspore, run_torch, written

GOLDEN = ROOT / "tests" / "golden" / "keras"


@pytest.mark.parametrize("target", ["torch", "mindspore"])
def test_layers_that_hand_no_mask_on(tmp_path, target):
    known = np.load(GOLDEN / "tf215_masks_full.npz")
    module, weights, _ = written(GOLDEN / "tf215_masks_full.h5", target, tmp_path)
    run = run_torch if target == "torch" else run_mindspore
    wanted = [known[name] for name in sorted(known.files) if name != "x"]
    close(run(module, weights, [known["x"]]), wanted, 5e-6)


@pytest.mark.parametrize("both", [False, True])
def test_zeros_of_masked_steps_that_stand_elsewhere(tmp_path, both):
    """Unrolled and backwards, no backend of Keras turns the mask for them."""
    import keras

    L = keras.layers  # noqa: N806
    told = {"return_sequences": True, "unroll": True, "name": "odd"}
    layer = L.GRU(2, go_backwards=True, zero_output_for_mask=True, **told)
    layer = L.Bidirectional(L.GRU(2, **told), name="odd") if both else layer
    model = keras.Sequential([keras.Input((5, 3)), L.Masking(), L.Dense(3), layer])
    model.save(tmp_path / "m.keras")
    edit(tmp_path, "metadata.json", lambda said: said.update(keras_version="2.15.0"))
    with pytest.raises(LossyError, match="odd: zeros of masked steps, unrolled and backwards"):
        written(tmp_path / "old.keras", "torch", tmp_path)
