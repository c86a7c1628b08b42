"""A tensor of which only shape and, perhaps, dtype are known: a parameter that waits for values."""

from __future__ import annotations

from ckptconv.errors import CkptconvError
from ckptconv.tensors.dtypes import is_float, named
from ckptconv.tensors.regions import Array, Region
from ckptconv.tensors.tensor import Tensor


class Declared(Tensor):
    """A parameter without values.

    Args:
        dtype: as numpy, torch or MindSpore write it (``float32``, ``torch.float32``,
            ``Float32``); ``""`` where nobody says, and then ``dtype_known`` is False.

    Raises:
        ValueError: no dtype of that name.
    """

    def __init__(self, shape: tuple[int, ...], dtype: str = "") -> None:
        self.shape, self.dtype_known = shape, bool(dtype)
        name = dtype.rpartition(".")[2].lower()
        try:
            self.dtype = named(name or "float32")
        except TypeError:
            known = False
        else:  # numpy has names for texts, times and records too
            known = is_float(self.dtype) or self.dtype.kind in "biuc"
        if not known:
            raise ValueError(f"no dtype is called {dtype[:60]}")

    def read(self, region: Region) -> Array:  # noqa: ARG002
        raise CkptconvError("the target tells names and shapes, and no values")
