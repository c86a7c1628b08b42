"""What a program tells of a module, under the module's other names."""

from __future__ import annotations

import numpy as np

from ckptconv.checkpoint import Module
from ckptconv.formats.torch.twins import with_twins
from ckptconv.tensors.tensor import ArrayTensor

KNOWN = {"net": Module("Sequential"), "net.0": Module("Conv1d"), "net.0.norm": Module("Norm")}


def tensors(*names: str) -> dict[str, ArrayTensor]:
    """Return tensors of names; those that end alike are one."""
    made: dict[str, ArrayTensor] = {}
    return {n: made.setdefault(n.rsplit(".", 1)[-1], ArrayTensor(np.ones(3))) for n in names}


def test_a_module_that_is_one_of_a_list() -> None:
    held = tensors("conv.w", "conv.b", "net.0.w", "net.0.b", "net.1.g")
    found = with_twins(KNOWN, held)
    assert found == {**KNOWN, "conv": Module("Conv1d"), "conv.norm": Module("Norm")}
    assert with_twins(KNOWN, {**held, "net.0.own": ArrayTensor(np.ones(2))}) == KNOWN
    assert with_twins(KNOWN, tensors("net.0.w", "net.0.b")) == KNOWN


def test_hostile_names_take_little_time() -> None:
    deep = "net" + ".a" * 200_000
    many = tensors(*(f"net.{i}.w" for i in range(20_000)))
    assert with_twins(KNOWN, {**many, f"{deep}.w": many["net.0.w"]}) == KNOWN
