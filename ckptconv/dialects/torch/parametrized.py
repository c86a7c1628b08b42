"""torch's reparametrized weights, as the plain weights that a module computes from them.

- weight_norm: ``W_g, W_v`` or ``parametrizations.W.original0, original1``; W = g · v / ‖v‖, the
  norm over the axes in which g has length 1;
- spectral_norm: ``W_orig, W_u, W_v`` or ``parametrizations.W.original, 0._u, 0._v``;
  W = W_orig / (uᵀ W_orig v);
- prune: ``W_orig, W_mask``; W = W_orig · mask;
- AWD-LSTM: ``weight_hh_l0_raw``, which is the weight; what stands beside it is a dropped-out copy.

Source: ``torch.nn.utils`` (weight_norm, spectral_norm, prune, parametrizations); Salesforce's
WeightDrop and fastai's WeightDropout. Values are computed in float64 when read, and rounded once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from ckptconv.checkpoint import Checkpoint, Module
from ckptconv.errors import AmbiguousKindError, CkptconvError, LossyError
from ckptconv.graph.graph import is_recurrent_name
from ckptconv.options import KindHint
from ckptconv.tensors.computed import Elementwise
from ckptconv.tensors.ops import reshape, transpose
from ckptconv.tensors.regions import Array, Region, split, whole
from ckptconv.tensors.tensor import BLOCK, Tensor

_OLD = re.compile(r"((?:weight|bias)\w*?)(_g|_v|_u|_orig|_mask)")
_NEW = "parametrizations."
_RAW = "_raw"
_CLASS = "Parametrized"
_REMOVE = "torch.nn.utils.parametrize.remove_parametrizations before saving"


def without_parametrizations(checkpoint: Checkpoint, kinds: Mapping[str, KindHint]) -> Checkpoint:
    """Return a state_dict with plain weights in the place of what they are computed from.

    Raises:
        LossyError: a parametrization whose function the file does not tell: orthogonal, or one
            that is not torch's.
        AmbiguousKindError: a spectral norm whose axis only the layer's kind tells.
    """
    made: dict[str, tuple[str, Tensor]] = {}
    consumed: set[str] = set()
    for stem, parts in _stems(checkpoint.tensors).items():
        try:
            tensor = _plain(parts, checkpoint.tensors, _kind(stem, checkpoint, kinds))
        except CkptconvError as error:
            error.file, error.tensor = checkpoint.path, stem
            raise
        if tensor is not None:
            made[next(iter(parts.values()))] = stem, tensor
            consumed.update(parts.values())
    plain = _substitute(checkpoint, made, consumed)
    return _without_weight_drop(replace(plain, modules=_plain_classes(checkpoint)))


def _stems(names: Mapping[str, Tensor]) -> dict[str, dict[str, str]]:
    """Return the plain name of each weight that comes in parts → suffix → name in the file."""
    found: dict[str, dict[str, str]] = {}
    for name in names:
        path, _, leaf = name.rpartition(".")
        match = _OLD.fullmatch(leaf)
        before, new, after = name.rpartition(_NEW)
        if new and "." in after:
            plain, _, suffix = after.partition(".")
            found.setdefault(before + plain, {})["." + suffix] = name
        elif match:
            stem = f"{path}.{match[1]}" if path else match[1]
            found.setdefault(stem, {})[match[2]] = name
    return found


def _kind(stem: str, checkpoint: Checkpoint, kinds: Mapping[str, KindHint]) -> str:
    """Return the kind of the layer that owns a weight, where the user or the file says it."""
    path = stem.rpartition(".")[0]
    for said, hint in kinds.items():
        if path == said or path.endswith(f".{said}"):
            return hint.kind
    module = checkpoint.modules.get(path)
    return ((module and module.class_name) or "").removeprefix(_CLASS)


def _plain(parts: Mapping[str, str], tensors: Mapping[str, Tensor], kind: str) -> Tensor | None:
    for suffixes, build in _FORMS:
        if set(parts) == set(suffixes):
            made = build([tensors[parts[suffix]] for suffix in suffixes], kind)
            if made is not None:
                return made
    unknown = [suffix for suffix in parts if suffix.startswith(".")]
    if ".0.base" in parts:
        raise LossyError("an orthogonal parametrization cannot be converted", hint=_REMOVE)
    if unknown or ("_orig" in parts and len(parts) > 1):
        raise LossyError(
            "a parametrization that stands in code only",
            expected="weight_norm, spectral_norm or a pruned weight",
            found=", ".join(parts.values()),
            hint=_REMOVE,
        )
    return None


def _substitute(
    checkpoint: Checkpoint, made: Mapping[str, tuple[str, Tensor]], consumed: set[str]
) -> Checkpoint:
    tensors: dict[str, Tensor] = {}
    for name, tensor in checkpoint.tensors.items():
        plain, value = made.get(name, (name, tensor))
        if name in consumed and name not in made:
            continue
        if plain in tensors or (plain != name and plain in checkpoint.tensors):
            raise LossyError(
                "stands in the file both plain and in parts", file=checkpoint.path, tensor=plain
            )
        tensors[plain] = value
    return replace(checkpoint, tensors=tensors)


def _plain_classes(checkpoint: Checkpoint) -> dict[str, Module]:
    return {
        path: replace(module, class_name=module.class_name.removeprefix(_CLASS))
        if module.class_name
        else module
        for path, module in checkpoint.modules.items()
    }


def _weight_norm(parts: Sequence[Tensor], _: str) -> Tensor | None:
    """g has length 1 in the axes of the norm; a scalar g stands for the norm of all."""
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


def _spectral_norm(parts: Sequence[Tensor], kind: str) -> Tensor | None:
    weight, u, v = parts
    axes = [a for a, n in enumerate(weight.shape[:2]) if n == u.size]
    if weight.ndim < 2 or u.ndim != 1 or v.ndim != 1 or not axes or u.size * v.size != weight.size:
        return None
    if len(axes) == 2:
        axes = [int("Transpose" in kind)]
        if weight.ndim > 2 and not kind:
            raise AmbiguousKindError(
                "the file does not tell along which axis this spectral norm was taken",
                expected="a convolution or a transposed one",
                found=weight.shape,
                hint="--kind PATH=Conv2d or --kind PATH=ConvTranspose2d",
            )
    order = [axes[0], *(a for a in range(weight.ndim) if a != axes[0])]
    matrix = reshape(transpose(weight, order), (u.size, v.size))
    sigma = reshape(_Sigma(matrix, u, v), (1,) * weight.ndim)
    return Elementwise(_quotient, (weight, sigma), weight.dtype, "spectral_norm")


def _quotient(weight: Array, sigma: Array) -> Array:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(weight.astype(np.float64) / sigma)


class _Sigma(Tensor):
    """uᵀ W v as a tensor of shape (1,), computed once."""

    def __init__(self, matrix: Tensor, u: Tensor, v: Tensor) -> None:
        self.inputs, self.shape, self.dtype = (matrix, u, v), (1,), np.dtype(np.float64)

    @cached_property
    def _value(self) -> float:
        matrix, u, v = self.inputs
        left, right = u.numpy().astype(np.float64), v.numpy().astype(np.float64)
        total = 0.0
        for rows, columns in split(whole(matrix.shape), BLOCK // 8):
            piece = matrix.read((rows, columns)).astype(np.float64)
            total += float(left[slice(*rows)] @ (piece @ right[slice(*columns)]))
        return total

    def read(self, region: Region) -> Array:
        return np.full(region[0][1] - region[0][0], self._value)


def _pruned(parts: Sequence[Tensor], _: str) -> Tensor | None:
    weight, mask = parts
    if weight.shape != mask.shape:
        return None
    return Elementwise(_masked, (weight, mask), weight.dtype, "pruned")


def _masked(weight: Array, mask: Array) -> Array:
    return np.asarray(weight * mask.astype(weight.dtype))


_FORMS: tuple[tuple[tuple[str, ...], Callable[[Sequence[Tensor], str], Tensor | None]], ...] = (
    (("_g", "_v"), _weight_norm),
    ((".original0", ".original1"), _weight_norm),
    (("_orig", "_u", "_v"), _spectral_norm),
    ((".original", ".0._u", ".0._v"), _spectral_norm),
    (("_orig", "_mask"), _pruned),
)


def _without_weight_drop(checkpoint: Checkpoint) -> Checkpoint:
    """Put AWD-LSTM's raw weights in the place of their dropped-out copies.

    The wrapper holds ``weight_hh_l0_raw`` itself and the LSTM as ``module``, or puts the raw weight
    into the LSTM.
    """
    homes = {
        name[: len(name) - len(leaf)]
        for name in checkpoint.tensors
        if is_recurrent_name(leaf := name.rpartition(".")[2])
    }
    moved: dict[str, str] = {}
    for name in checkpoint.tensors:
        leaf = name.rpartition(".")[2]
        plain = leaf.removesuffix(_RAW)
        path = name[: len(name) - len(leaf)]
        home = next((h for h in (f"{path}module.", path) if h in homes), None)
        if plain != leaf and is_recurrent_name(plain) and home is not None:
            moved[name] = home + plain
    dropped = set(moved.values()) & set(checkpoint.tensors)
    rule = "a copy of the raw weight with dropout, made anew in each step of training"
    tensors = {
        moved.get(n, n): tensor for n, tensor in checkpoint.tensors.items() if n not in dropped
    }
    omitted = {**checkpoint.omitted, **dict.fromkeys(dropped, rule)}
    return replace(checkpoint, tensors=tensors, omitted=omitted)
