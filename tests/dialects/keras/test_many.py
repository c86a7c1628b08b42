"""Which layer weights of Keras belong to, also where they are many: in work as they are many."""

from __future__ import annotations

import pytest

from ckptconv.checkpoint import KerasFacts
from ckptconv.dialects.keras.config_scopes import match
from ckptconv.dialects.keras.config_tree import Part
from ckptconv.dialects.keras.legacy_names import legacy_units
from ckptconv.dialects.keras.model_config import Entry
from ckptconv.tensors.declared import Declared
from tests.work import work

MANY = 600
LEAVES = {
    "other weights of Keras 1": ("a{0}_W", "b{0}_carry"),
    "halves": ("e{0}/forward_g/kernel:0", "e{0}/backward_g/kernel:0"),
    "layers of a model": ("d{0}/kernel:0", "d{0}/bias:0"),
    "cells": ("r/kernel_{0}:0", "r/bias_{0}:0"),
}


def _read(leaves, count):
    names = tuple(leaf.format(i) for i in range(count // 2) for leaf in leaves)
    tensors = {f"m/{name}": Declared((4,)) for name in names}
    units = list(legacy_units(tensors, KerasFacts("legacy", weights={"m": names}), None))
    assert sum(len(unit.leaves) for unit in units) == count


@pytest.mark.parametrize("leaves", LEAVES.values(), ids=LEAVES)
def test_many_weights_in_one_layer(leaves):
    once, twice = (work(lambda n=n: _read(leaves, n)) for n in (MANY, 2 * MANY))
    assert twice < 2.2 * once


def _matched(above, count):
    names = [f"dense_{i}" for i in range(count)]
    outer = (("m",), *((name,) for name in above))
    known = [Part(Entry("Dense", {"name": name}), scopes=(*outer, (name,))) for name in names]
    found = match([(*above, name) for name in names], known)
    assert [part.entry.name for part, _ in found.values()] == names


@pytest.mark.parametrize("above", [(), ("low",), ("low", "lower")])
def test_many_layers_of_one_model_in_another(above):
    """Each is asked for by its name, and not compared with all."""
    once, twice = (work(lambda n=n: _matched(above, n)) for n in (MANY, 2 * MANY))
    assert twice < 2.2 * once


def test_a_layer_that_is_called_as_a_part_of_another():
    """The weights of ``attention/value`` are the attention's, where a layer is called ``value``."""
    outer = (("m",), ("inner",))
    known = [
        Part(Entry(kind, {"name": name}), scopes=(*outer, (name,)))
        for kind, name in (("MultiHeadAttention", "attention"), ("Conv1D", "value"))
    ]
    scopes = [("inner", "attention", "value"), ("inner", "attention", "key"), ("inner", "value")]
    found = match(scopes, known)
    assert [part.entry.name for part, _ in found.values()] == ["attention", "attention", "value"]
    assert found[scopes[0]][1] == ("value",)
