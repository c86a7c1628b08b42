"""torch's reparametrized weights, as the plain weights that a module computes from them.

- weight_norm: ``W_g, W_v`` or ``parametrizations.W.original0, original1``; W = g · v / ‖v‖, the
  norm over the axes in which g has length 1;
- spectral_norm: ``W_orig, W_u, W_v`` or ``parametrizations.W.original, 0._u, 0._v``;
  W = W_orig / (uᵀ W_orig v);
- prune: ``W_orig, W_mask``; W = W_orig · mask.

What a parametrization computes stands in its class. A whole module tells that; a state_dict tells
by ``_metadata`` only how many there are on a weight, so ``original0`` and ``original1``, which any
class may have, need the user's word (``--allow weight_norm``). Of several on one weight none is
guessed.

Source: ``torch.nn.utils`` (weight_norm, spectral_norm, prune, parametrizations). Values are
computed in float64 when read, and rounded once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

from ckptconv.checkpoint import Checkpoint, Module, join
from ckptconv.dialects.torch.norms import pruned, spectral_norm, weight_norm
from ckptconv.errors import AmbiguousKindError, CkptconvError, LossyError, gathering
from ckptconv.options import ReadOptions
from ckptconv.spelling import option
from ckptconv.tensors.tensor import Tensor

_OLD = re.compile(r"(\w*?(?:weight|bias)\w*?)(_g|_v|_u|_orig|_mask)")
_NEW = "parametrizations."
_CLASS = "Parametrized"
_AXES = 5
_CLASSES = ("_WeightNorm", "_SpectralNorm")
_SEVERAL = "several parametrizations on one weight"
_REMOVE = "torch.nn.utils.parametrize.remove_parametrizations before saving"


def without_parametrizations(checkpoint: Checkpoint, options: ReadOptions) -> Checkpoint:
    """Return a state_dict with plain weights in the place of what they are computed from.

    Raises:
        LossyError: a parametrization whose function the file does not tell: orthogonal, one that
            is not torch's, several on one weight.
        AmbiguousKindError: a spectral norm whose axis nothing tells, or a parametrization that
            only looks like torch's.
    """
    made: dict[str, tuple[str, Tensor]] = {}
    consumed: set[str] = set()
    with gathering() as each:
        for stem, parts in _stems(checkpoint.tensors).items():
            with each:
                tensor = _plain(stem, parts, checkpoint, options)
                if tensor is not None:
                    made[next(iter(parts.values()))] = stem, tensor
                    consumed.update(parts.values())
    plain = _substitute(checkpoint, made, consumed)
    return replace(plain, modules=_plain_classes(checkpoint))


def _stems(names: Mapping[str, Tensor]) -> dict[str, dict[str, str]]:
    """Return the plain name of each weight that comes in parts → suffix → name in the file."""
    found: dict[str, dict[str, str]] = {}
    for name in names:
        path, _, leaf = name.rpartition(".")
        match = _in_parts(leaf)
        before, new, after = name.rpartition(_NEW)
        if new and "." in after:
            plain, _, suffix = after.partition(".")
            found.setdefault(before + plain, {})["." + suffix] = name
        elif match:
            stem = join(path, match[1])
            found.setdefault(stem, {})[match[2]] = name
    return found


_in_parts = lru_cache(maxsize=1024)(_OLD.fullmatch)  # the same few names stand in every layer


def _plain(
    stem: str, parts: Mapping[str, str], checkpoint: Checkpoint, options: ReadOptions
) -> Tensor | None:
    try:
        for suffixes, name, build in _FORMS:
            if set(parts) == set(suffixes):
                tensors = [checkpoint.tensors[parts[suffix]] for suffix in suffixes]
                made = build(tensors, _dim(stem, checkpoint, options))
                if made is not None:
                    _check_class(stem, parts, name, checkpoint, options)
                    return made
        _refuse_unknown(parts)
    except CkptconvError as error:
        error.file, error.tensor = checkpoint.path, stem
        if isinstance(error, AmbiguousKindError):
            error.choices = {stem: ()}
        raise
    return None


def _dim(stem: str, checkpoint: Checkpoint, options: ReadOptions) -> int | None:
    """Return the axis of a spectral norm where the user or the file says it."""
    entry = checkpoint.modules.get(f"{_parametrizations(stem)}.0")
    dim = entry.attributes.get("dim") if entry else None
    said = next((n for n in range(_AXES) if f"spectral_norm_dim={n}" in options.allow), None)
    return dim if type(dim) is int else said


def _parametrizations(stem: str) -> str:
    path, _, leaf = stem.rpartition(".")
    return join(path, _NEW + leaf)


def _check_class(
    stem: str, parts: Mapping[str, str], name: str, checkpoint: Checkpoint, options: ReadOptions
) -> None:
    """Refuse what is not known to be torch's, and what is one of several on a weight."""
    base = _parametrizations(stem)
    if _OLD.fullmatch(stem.rpartition(".")[2]) or f"{base}.1" in checkpoint.modules:
        raise LossyError(_SEVERAL, found=", ".join(parts.values()), hint=_REMOVE)
    if not next(iter(parts)).startswith("."):
        return  # the old style has names that only torch gives
    entry = checkpoint.modules.get(f"{base}.0")
    if entry and entry.class_name:
        if entry.class_name.rpartition(".")[2] not in _CLASSES:
            raise _unknown(entry.class_name)
    elif name not in options.allow and (name == "weight_norm" or entry is None):
        error = AmbiguousKindError(
            f"looks like {name}, but the file does not name the class",
            found=", ".join(parts.values()),
            hint=f"{option('allow', [name])}; if it is torch.nn.utils.parametrizations.{name}, and "
            "alone",
        )
        error.allow = frozenset({name})
        raise error


def _refuse_unknown(parts: Mapping[str, str]) -> None:
    if ".0.base" in parts:
        raise LossyError("an orthogonal parametrization cannot be converted", hint=_REMOVE)
    unknown = [suffix for suffix in parts if suffix.startswith(".")]
    if unknown or ("_orig" in parts and len(parts) > 1):
        raise _unknown(", ".join(parts.values()))


def _unknown(found: str) -> LossyError:
    return LossyError(
        "a parametrization that stands in code only",
        expected="weight_norm, spectral_norm or a pruned weight",
        found=found,
        hint=_REMOVE,
    )


_Build = Callable[[Sequence[Tensor], "int | None"], "Tensor | None"]
_FORMS: tuple[tuple[tuple[str, ...], str, _Build], ...] = (
    (("_g", "_v"), "weight_norm", weight_norm),
    ((".original0", ".original1"), "weight_norm", weight_norm),
    (("_orig", "_u", "_v"), "spectral_norm", spectral_norm),
    ((".original", ".0._u", ".0._v"), "spectral_norm", spectral_norm),
    (("_orig", "_mask"), "pruned", pruned),
)


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
        path: module._replace(class_name=module.class_name.removeprefix(_CLASS))
        if module.class_name
        else module
        for path, module in checkpoint.modules.items()
    }
