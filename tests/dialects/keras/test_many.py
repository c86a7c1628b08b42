"""Files of Keras with very many weights in one layer are read in the time that their size takes."""

from __future__ import annotations

import time

import pytest

from ckptconv.checkpoint import KerasFacts
from ckptconv.dialects.keras.config_scopes import match
from ckptconv.dialects.keras.config_tree import Part
from ckptconv.dialects.keras.legacy_names import legacy_units
from ckptconv.dialects.keras.model_config import Entry
from ckptconv.tensors.declared import Declared

MANY = 16_000
LEAVES = {
    "other weights of Keras 1": ("a{0}_W", "b{0}_carry"),
    "halves": ("e{0}/forward_g/kernel:0", "e{0}/backward_g/kernel:0"),
    "layers of a model": ("d{0}/kernel:0", "d{0}/bias:0"),
    "cells": ("r/kernel_{0}:0", "r/bias_{0}:0"),
}


@pytest.mark.parametrize("leaves", LEAVES.values(), ids=LEAVES)
def test_many_weights_in_one_layer(leaves):
    names = tuple(leaf.format(i) for i in range(MANY // 2) for leaf in leaves)
    tensors = {f"m/{name}": Declared((4,)) for name in names}
    started = time.process_time()
    units = list(legacy_units(tensors, KerasFacts("legacy", weights={"m": names}), None))
    assert time.process_time() - started < 1
    assert sum(len(unit.leaves) for unit in units) == MANY


@pytest.mark.parametrize("above", [(), ("low",), ("low", "lower")])
def test_many_layers_of_one_model_in_another(above):
    """Each is asked for by its name, and not compared with all."""
    names = [f"dense_{i}" for i in range(MANY // 4)]
    outer = (("m",), *((name,) for name in above))
    known = [Part(Entry("Dense", {"name": name}), scopes=(*outer, (name,))) for name in names]
    started = time.process_time()
    found = match([(*above, name) for name in names], known)
    assert time.process_time() - started < 2
    assert [part.entry.name for part, _ in found.values()] == names
