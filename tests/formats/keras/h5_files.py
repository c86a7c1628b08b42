"""HDF5 files by hand, and what is read of them."""

from __future__ import annotations

import h5py
import numpy as np


def h5(path, build, **options):
    with h5py.File(path, "w", **options) as file:
        build(file)
    return path


def legacy(path, weights, **options):
    """Write a legacy file of one layer; each weight is an array or create_dataset's arguments."""

    def build(file):
        file.attrs["layer_names"] = np.array([b"a"])
        group = file.create_group("a")
        group.attrs["weight_names"] = np.array([n.encode() for n in weights], "S")
        for name, value in weights.items():
            group.create_dataset(name, **(value if isinstance(value, dict) else {"data": value}))

    return h5(path, build, **options)


def values(checkpoint):
    return {name: tensor.numpy() for name, tensor in checkpoint.tensors.items()}


def same(found, expected):
    assert list(found) == list(expected)
    for name in found:
        assert found[name].dtype == expected[name].dtype
        np.testing.assert_array_equal(found[name], expected[name])
