"""The table of layers: kind → parameter → canonical axes | MindSpore | Keras.

Canonical names, axes and shapes are torch's; ``mindspore.mint`` uses the same. A column says how
the parameter is called there and, after a space, in which axes it is stored; an empty column means
as in the canonical graph.

Axis letters: o, i output and input channels (or features); d, h, w or k the kernel's depth, height,
width or length; v the vocabulary; n the normalised features; g stacked gates; u hidden units;
1 an axis of length one; ``*`` any axes. Letters that recur within a kind must agree in size.

``-`` the target has no such parameter: left out by rule. ``!`` the target always has it: where the
source has none, the fill value is written, which is what the layer computes without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ckptconv.graph.gates import permutation
from ckptconv.tensors.ops import reshape, transpose
from ckptconv.tensors.tensor import Tensor


@dataclass(frozen=True)
class Param:
    """One parameter of a kind: a row of the table."""

    name: str
    axes: str
    mindspore: str = ""
    keras: str = ""
    required: bool = True
    fill: float = 0.0
    needs: str = ""
    mint: str = ""
    torch: str = ""

    def column(self, dialect: str) -> tuple[str, str]:
        """Return (name, axes) of this parameter in a dialect; the name is ``-`` for none."""
        text = getattr(self, dialect, "") or self.name
        name, _, axes = text.removesuffix("!").partition(" ")
        return name, axes or self.axes

    def always(self, dialect: str) -> bool:
        """Tell whether the dialect's layer has this parameter whatever its options."""
        return str(getattr(self, dialect, "")).endswith("!")


def _optional(
    name: str, axes: str, mindspore: str = "", keras: str = "", fill: float = 0, needs: str = ""
) -> Param:
    return Param(name, axes, mindspore, keras, required=False, fill=fill, needs=needs)


def _conv(axes: str, mindspore: str, keras: str) -> tuple[Param, ...]:
    return Param("weight", axes, f"weight {mindspore}", f"kernel {keras}"), _optional("bias", "o")


def _affine(prefix: str = "") -> tuple[Param, ...]:
    return (
        _optional("weight", "n", f"{prefix}gamma!", "gamma", 1, "bias"),
        _optional("bias", "n", f"{prefix}beta!", "beta", 0, "weight"),
    )


def _batch_norm(prefix: str = "") -> tuple[Param, ...]:
    return (
        *_affine(prefix),
        _optional("running_mean", "n", f"{prefix}moving_mean!", "moving_mean!", 0, "running_var"),
        _optional("running_var", "n", f"{prefix}moving_variance!", "moving_variance!", 1),
        Param(
            "num_batches_tracked",
            "",
            "-",
            "-",
            required=False,
            needs="running_var",
            mint="num_batches_tracked!",
            torch="num_batches_tracked!",
        ),
    )


# MindSpore's InstanceNorm carries statistics that it never uses. torch's with
# track_running_stats computes what BatchNorm does, and is read as that.
_INSTANCE_NORM = (
    *_affine(),
    Param("running_mean", "n", "moving_mean!", "-", required=False, torch="-"),
    Param("running_var", "n", "moving_variance!", "-", required=False, fill=1, torch="-"),
)

_EMBEDDING = (Param("weight", "vn", "embedding_table", "embeddings"),)

KINDS: Mapping[str, tuple[Param, ...]] = {
    # kind                canonical               MindSpore nn          Keras
    "Linear": (
        Param("weight", "oi", "", "kernel io"),
        _optional("bias", "o"),
    ),
    "Bilinear": (
        Param("weight", "oij", "", "-"),
        _optional("bias", "o"),
    ),
    "Embedding": _EMBEDDING,
    "EmbeddingBag": _EMBEDDING,
    "LayerNorm": (
        Param("weight", "*", "gamma", "gamma"),
        _optional("bias", "*", "beta!", "beta"),
    ),
    "GroupNorm": (
        Param("weight", "n", "gamma", "gamma"),
        Param("bias", "n", "beta", "beta"),
    ),
    "RMSNorm": (Param("weight", "*", "", "scale"),),
    "BatchNorm1d": _batch_norm(),
    "BatchNorm2d": _batch_norm(),
    "BatchNorm3d": _batch_norm("bn2d."),
    "InstanceNorm1d": _INSTANCE_NORM,
    "InstanceNorm2d": _INSTANCE_NORM,
    "InstanceNorm3d": _INSTANCE_NORM,
    "Conv1d": _conv("oik", "oi1k", "kio"),
    "Conv2d": _conv("oihw", "oihw", "hwio"),
    "Conv3d": _conv("oidhw", "oidhw", "dhwio"),
    "ConvTranspose1d": _conv("iok", "io1k", "koi"),
    "ConvTranspose2d": _conv("iohw", "iohw", "hwoi"),
    "ConvTranspose3d": _conv("iodhw", "iodhw", "dhwoi"),
    "PReLU": (Param("weight", "n", "w", "alpha"),),
    "MultiheadAttention": (
        _optional("in_proj_weight", "gi"),
        _optional("q_proj_weight", "oi", needs="k_proj_weight"),
        _optional("k_proj_weight", "oj", needs="v_proj_weight"),
        _optional("v_proj_weight", "ok", needs="q_proj_weight"),
        _optional("in_proj_bias", "g"),
        _optional("bias_k", "11o"),
        _optional("bias_v", "11o"),
        Param("out_proj.weight", "oe"),
        _optional("out_proj.bias", "o"),
    ),
}

CLASSES = {
    # other class names → kind
    "Dense": "Linear",
    "LazyLinear": "Linear",
    "NonDynamicallyQuantizableLinear": "Linear",
    "SyncBatchNorm": "BatchNorm2d",
    **{f"LazyBatchNorm{n}d": f"BatchNorm{n}d" for n in (1, 2, 3)},
    **{f"LazyConv{n}d": f"Conv{n}d" for n in (1, 2, 3)},
    **{f"Conv{n}dTranspose": f"ConvTranspose{n}d" for n in (1, 2, 3)},
    "BiDense": "Bilinear",
}

_RANKED = [f"{kind}{n}d" for kind in ("Conv", "BatchNorm") for n in (1, 2, 3)]
MINT: frozenset[str] = frozenset(
    [
        "Linear",
        "Embedding",
        "EmbeddingBag",
        "LayerNorm",
        "GroupNorm",
        "PReLU",
        "ConvTranspose2d",
        *_RANKED,
    ]
)
"""Kinds that ``mindspore.mint.nn`` has; the others come from ``mindspore.nn`` there too."""

PARAMETER = "Parameter"
"""The kind of what no row explains: kept under its name, and said so."""


def realign(tensor: Tensor, src: str, dst: str) -> Tensor:
    """Bring a tensor from axes ``src`` to axes ``dst``; ``1`` axes are dropped and inserted."""
    if src == dst or "*" in src:
        return tensor
    bare_src, bare_dst = src.replace("1", ""), dst.replace("1", "")
    sizes = [n for n, axis in zip(tensor.shape, src, strict=True) if axis != "1"]
    bare = transpose(reshape(tensor, tuple(sizes)), permutation(bare_src, bare_dst))
    rest = iter(bare.shape)
    return reshape(bare, tuple(1 if axis == "1" else next(rest) for axis in dst))


def fits(kind: str, shapes: Mapping[str, tuple[int, ...]], dialect: str) -> bool:
    """Tell whether parameters of these names and shapes can be a layer of this kind.

    Args:
        shapes: name in ``dialect`` → shape.
    """
    rows = {param.column(dialect)[0]: param for param in KINDS[kind]}
    if not shapes or not set(shapes) <= set(rows) - {"-"}:
        return False
    present = {rows[name].name for name in shapes}
    sizes: dict[str, object] = {"1": 1}
    for name, param in rows.items():
        if name not in shapes:
            # Counters (no axes) are younger than the layers: old files have none.
            if param.required or (param.axes and param.always(dialect)):
                return False
            continue
        if param.needs and param.needs not in present:
            return False
        axes, shape = param.column(dialect)[1], shapes[name]
        found = {"*": shape} if axes == "*" else dict(zip(axes, shape, strict=False))
        if axes != "*" and len(axes) != len(shape):
            return False
        if any(sizes.setdefault(axis, n) != n for axis, n in found.items()):
            return False
    return True
