"""What torch's reparametrizations compute, as lazy tensors: weight_norm, spectral_norm, pruning.

Source: ``torch.nn.utils``. Each function returns None where the shapes are not its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

from ckptconv.errors import AmbiguousKindError
from ckptconv.spelling import option
from ckptconv.tensors.computed import Elementwise
from ckptconv.tensors.dtypes import named
from ckptconv.tensors.lazy import np
from ckptconv.tensors.ops import reshape, transpose
from ckptconv.tensors.regions import Array, Region, split, whole
from ckptconv.tensors.tensor import BLOCK, Tensor

_NEAR, _FAR, _SAME = 0.3, 0.5, 1e-6
"""Distances of unit vectors: the same but for a step of training; another; equal but rounded."""


def weight_norm(parts: Sequence[Tensor], _: int | None) -> Tensor | None:
    """Return g · v / ‖v‖; g has length 1 in the norm's axes, and is a scalar where it is of all."""
    g, v = parts
    if not g.shape:
        g = reshape(g, (1,) * v.ndim)
    long = [axis for axis, n in enumerate(g.shape) if n != 1]
    fits = g.ndim == v.ndim and len(long) <= 1 and all(g.shape[a] == v.shape[a] for a in long)
    if not fits or v.ndim == 0:
        return None
    axis = long[0] if long else 0
    first = [axis, *(a for a in range(v.ndim) if a != axis)]
    rows, scale = transpose(v, first), transpose(g, first)
    if not long:
        rows, scale = reshape(v, (1, v.size)), reshape(g, (1, 1))
    made = Elementwise(_normalised, (rows, scale), v.dtype, "weight_norm", rows=True)
    if not long:
        return reshape(made, v.shape, "")
    return transpose(made, [first.index(a) for a in range(v.ndim)])


def _normalised(v: Array, g: Array) -> Array:
    values = v.astype(np.float64)
    axes = tuple(range(1, v.ndim))
    with np.errstate(invalid="ignore", divide="ignore"):
        scale = g.astype(np.float64) / np.sqrt((values**2).sum(axis=axes, keepdims=True))
        return np.multiply(values, scale, out=values)


def spectral_norm(parts: Sequence[Tensor], dim: int | None) -> Tensor | None:
    """Return W / (uᵀ W v), W as a matrix whose rows are its axis ``dim``.

    Raises:
        AmbiguousKindError: neither ``dim`` nor the sizes nor the vectors tell the axis.
    """
    weight, u, v = parts
    axes = [a for a, n in enumerate(weight.shape) if n == u.size and u.size * v.size == weight.size]
    if weight.ndim < 2 or u.ndim != 1 or v.ndim != 1 or not axes:
        return None
    if dim is not None:
        axes = [axis for axis in axes if axis == dim % weight.ndim]
    sigmas = {axis: _Sigma(_matrix(weight, axis), u, v) for axis in axes}
    if len(sigmas) > 1:
        sigmas = _settled(weight, u, v, sigmas)
    if not sigmas:
        return None
    sigma = reshape(next(iter(sigmas.values())), (1,) * weight.ndim)
    return Elementwise(_quotient, (weight, sigma), weight.dtype, "spectral_norm")


def _matrix(weight: Tensor, axis: int) -> Tensor:
    order = [axis, *(a for a in range(weight.ndim) if a != axis)]
    rows = weight.shape[axis]
    return reshape(transpose(weight, order), (rows, weight.size // max(rows, 1)))


def _settled(
    weight: Tensor, u: Tensor, v: Tensor, sigmas: Mapping[int, _Sigma]
) -> dict[int, _Sigma]:
    """Let the vectors tell the axis: a step of power iteration leaves u = W v / ‖W v‖."""
    gaps = {}
    for axis in sigmas:
        product = _matrix(weight, axis).numpy().astype(np.float64) @ v.numpy().astype(np.float64)
        gaps[axis] = float(np.linalg.norm(product / (np.linalg.norm(product) or 1) - u.numpy()))
    best, *others = sorted(gaps, key=lambda axis: gaps[axis])
    values = [sigma.value for sigma in sigmas.values()]
    same = max(values) - min(values) <= _SAME * max(map(abs, values))
    clear = all(gaps[other] > max(_FAR, 3 * gaps[best]) for other in others)
    if same or (clear and gaps[best] < _NEAR):
        return {best: sigmas[best]}
    error = AmbiguousKindError(
        "the file does not tell along which axis this spectral norm was taken",
        expected=" or ".join(f"dim={axis}" for axis in sigmas),
        found=weight.shape,
        hint=" or ".join(option("allow", [f"spectral_norm_dim={axis}"]) for axis in (0, 1))
        + "; 0 is torch's default, 1 that of a transposed convolution",
    )
    error.allow = frozenset({"spectral_norm_dim=0"})
    raise error


def _quotient(weight: Array, sigma: Array) -> Array:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(weight.astype(np.float64) / sigma)


class _Sigma(Tensor):
    """uᵀ W v as a tensor of shape (1,), computed once."""

    def __init__(self, matrix: Tensor, u: Tensor, v: Tensor) -> None:
        self.inputs, self.shape, self.dtype = (matrix, u, v), (1,), named("float64")

    @cached_property
    def value(self) -> float:
        matrix, u, v = self.inputs
        left, right = u.numpy().astype(np.float64), v.numpy().astype(np.float64)
        total = 0.0
        for rows, columns in split(whole(matrix.shape), BLOCK // 8):
            piece = matrix.read((rows, columns)).astype(np.float64)
            total += float(left[slice(*rows)] @ (piece @ right[slice(*columns)]))
        return total

    def read(self, region: Region) -> Array:
        return np.full(region[0][1] - region[0][0], self.value)


def pruned(parts: Sequence[Tensor], _: int | None) -> Tensor | None:
    """Return the weight times its mask."""
    weight, mask = parts
    if weight.shape != mask.shape:
        return None
    return Elementwise(_masked, (weight, mask), weight.dtype, "pruned", exact=True)


def _masked(weight: Array, mask: Array) -> Array:
    return np.asarray(weight * mask.astype(weight.dtype))
