"""What is known of a layer's constructor arguments: from shapes, from the file, by assumption."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ckptconv.graph.axes import lacking, sizes_of
from ckptconv.graph.forms import Facts, Forms
from ckptconv.graph.gates import CANONICAL
from ckptconv.graph.graph import Layer, RecurrentLayer
from ckptconv.graph.kinds import KINDS, UNKNOWN, Family

_LONGEST = 20
_LIMIT = 1e9
_FLOAT32_EPSILON = 2.0**-23
_ABSENT = object()
_WORDS = ("same", "valid", "causal")
_PER_AXIS = ("stride", "padding", "dilation", "output_padding")


def hyper_parameters(layer: Layer, source: Forms) -> tuple[Facts, Facts]:
    """Return the hyper-parameters that no shape tells: (all of them, those only assumed)."""
    kind, form = KINDS.get(layer.kind), source.get(layer.kind)
    facts: Facts = {}
    assumed: Facts = {}
    for name, default in kind.hyper.items() if kind else ():
        value = layer.attributes.get(name, form.fixed.get(name, _ABSENT) if form else _ABSENT)
        if is_possible(value, default, kind.rank if kind else 0):
            facts[name] = value
            continue
        usual = form.defaults.get(name, default) if form else default
        nameless = value is not _ABSENT and not isinstance(default, float)
        facts[name] = assumed[name] = UNKNOWN if nameless else usual
    return facts, assumed


def is_possible(value: Any, default: object, rank: int = 0) -> bool:
    """Tell whether a value from a file can be this hyper-parameter.

    Args:
        rank: how many numbers a row of them has, beside one for all axes; 0 is any.
    """
    number = isinstance(value, int | float) and -_LIMIT < value < _LIMIT
    if isinstance(default, bool | str):
        return type(value) is type(default) and len(repr(value)) <= _LONGEST
    if isinstance(default, int):
        row = isinstance(value, list | tuple) and len(value) in ((1, rank) if rank else (1, 2, 3))
        whole = row and all(isinstance(n, int) and abs(n) < _LIMIT for n in value)
        return whole or (isinstance(value, int) and number) or value in _WORDS
    return number or (value is None and default is not UNKNOWN)


def facts_of(layer: Layer, source: Forms) -> Facts:
    """Return every fact that a call on some target may need; an unknown one is ``UNKNOWN``."""
    kind = KINDS[layer.kind]
    facts = {**_sizes(layer), **hyper_parameters(layer, source)[0]}
    derive = _DERIVED.get(kind.family)
    return facts | derive(layer, facts) if derive else facts


def _sizes(layer: Layer) -> Facts:
    """Return sizes by the axis letters of the table of layers, and which parameters there are."""
    kind = KINDS[layer.kind]
    shapes = {name: tensor.shape for name, tensor in layer.params.items()}
    present = {param.name: param.name in shapes for param in kind.params}
    return {**sizes_of(kind, shapes, layer.attributes), **present}


def _recurrent(layer: Layer, facts: Facts) -> Facts:
    if not isinstance(layer, RecurrentLayer):
        return {}
    cell = layer.cells[0, 0]
    gates = len(CANONICAL[layer.base])
    return {
        "input_size": cell.w_ih.shape[1],
        "hidden_size": cell.w_hh.shape[0] // gates,
        "num_layers": layer.num_layers,
        "bidirectional": layer.num_directions == 2,
        "bias_ih": cell.b_ih is not None,
        "proj_size": cell.w_hr.shape[0] if cell.w_hr is not None else 0,
        "dropout": float(facts.get("dropout") or 0),
        "return_sequences": layer.attributes.get("return_sequences") is not False,
        "reset_after": True,
    }


def _normalised(layer: Layer, facts: Facts) -> Facts:
    shape = next(iter(layer.params.values())).shape
    epsilon = _FLOAT32_EPSILON if facts["eps"] is None else facts["eps"]  # torch's eps=None
    if len(shape) == 1:
        return {"shape": shape, "axes": -1, "first": -1, "epsilon": epsilon}
    axes = list(range(-len(shape), 0))
    said = layer.attributes.get("begin_norm_axis")
    first = said if type(said) is int else 1
    return {"shape": shape, "axes": axes, "first": first, "epsilon": epsilon}


def _batch_norm(layer: Layer, facts: Facts) -> Facts:
    tracked, momentum = "running_mean" in layer.params, facts["momentum"]
    return {
        "use_batch_statistics": None if tracked else True,
        "kept": 0.9 if momentum is None else round(1 - momentum, 12),
    }


def _convolution(layer: Layer, facts: Facts, grouped: str = "i") -> Facts:
    shape, padding = layer.params["weight"].shape, facts["padding"]
    groups = facts["groups"] if isinstance(facts["groups"], int) else 1
    word = padding if isinstance(padding, str) or padding is UNKNOWN else None
    sides, causal = _sides(layer, facts, shape[2:]), word == "causal"
    strides = _per_axis(facts["stride"], len(shape) - 2)
    apart = causal or (word == "same" and max(strides, default=1) > 1)
    return {
        **{name: _short(value) for name, value in facts.items() if name in _PER_AXIS},
        grouped: facts.get(grouped, 1) * groups,
        "kernel": _short(shape[2:]),
        "padding": 0 if apart else _short(padding),
        "pad_mode": "valid" if causal else word or "pad",
        "pads": 0 if word else _mindspore_pads(facts, len(shape) - 2),
        "pad_word": word or "valid",
        "margin": None if word or _short(padding) == 0 else _short(padding),
        "sides": sides,
        "causal_sides": sides if causal else None,
        "zero": 0.0,
    }


def _sides(layer: Layer, facts: Facts, kernel: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return the zeros before and after each axis, the last axis first, that stand for a word.

    Source: ``keras.layers.Conv1D``: ``causal`` pads the beginning; ``same`` with strides pads
    what the last window lacks, which depends on the input's size, the smaller half first.
    """
    rank, padding = len(kernel), facts["padding"]
    stride, dilation = (_per_axis(facts[name], rank) for name in ("stride", "dilation"))
    reach = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    if padding == "causal":
        pads = [(n, 0) for n in reach]
    elif padding == "same" and any(s > 1 for s in stride):
        sizes = layer.attributes.get("input_sizes") or [None]
        if len(sizes) != rank or not all(isinstance(n, int) for n in sizes):
            return None
        axes = zip(sizes, reach, stride, strict=True)
        totals = [lacking(n, r + 1, max(s, 1)) for n, r, s in axes]
        pads = [(total // 2, total - total // 2) for total in totals]
    else:
        return None
    return tuple(n for pair in reversed(pads) for n in pair)


def _transposed(layer: Layer, facts: Facts) -> Facts:
    """Return the facts of a transposed convolution, torch's numbers for Keras's words too.

    Source: ``conv_transpose`` of Keras's torch backend: the whole output, of which each side is
    cut off, or which is continued where windows do not meet.
    """
    found = _convolution(layer, {**facts, "output_padding": facts.get("output_padding", 0)}, "o")
    kernel = layer.params["weight"].shape[2:]
    rank = len(kernel)
    stride, dilation = (_per_axis(facts[name], rank) for name in ("stride", "dilation"))
    if facts["padding"] not in ("same", "valid"):
        apart = any(s > k for s, k in zip(stride, kernel, strict=True))
        given = apart or found["output_padding"] != 0  # Keras's None fills what windows leave
        return {**found, "trim": None, "added": found["output_padding"] if given else None}
    cuts = [
        _cut(facts["padding"], d * (k - 1) + 1, s)
        for k, s, d in zip(kernel, stride, dilation, strict=True)
    ]
    trims = [n for left, right in reversed(cuts) for n in (0, -max(right - left, 0))]
    return {
        **found,
        "padding": _short([left for left, _ in cuts]),
        "output_padding": _short([max(left - right, 0) for left, right in cuts]),
        "trim": tuple(trims) if any(trims) else None,
        "added": None,
    }


def _cut(word: str, kernel: int, stride: int) -> tuple[int, int]:
    """Return what is cut off each side of the whole output; less than nothing is added."""
    if word == "valid":
        return 0, kernel - max(kernel, stride)
    total = stride + kernel - 2
    left = min(total // 2 + total % 2, kernel - 1)
    return kernel - 1 - left, kernel - 1 - (total - left)


def _mindspore_pads(facts: Facts, rank: int) -> Any:
    """Return the padding of each side of each axis; a transposed output's added rows are sides
    that are cut off less (nn.Conv2dTranspose's own output_padding fills them with zeros)."""
    first = _per_axis(facts["padding"], rank)
    added = _per_axis(facts.get("output_padding", 0), rank)
    if any(a > p for a, p in zip(added, first, strict=False)) or (rank == 1 and any(added)):
        return UNKNOWN
    sides = [n for p, a in zip(first, added, strict=False) for n in (p, p - a)]
    return _short(sides)


def _per_axis(value: Any, rank: int) -> list[int]:
    numbers = [*value] if isinstance(value, list | tuple) else [value]
    numbers *= rank if len(numbers) == 1 else 1
    return [n if isinstance(n, int) else 0 for n in numbers]


def _slopes(layer: Layer, _: Facts) -> Facts:
    return {"shared_axes": layer.attributes.get("shared_axes", UNKNOWN)}


def _attention(layer: Layer, facts: Facts) -> Facts:
    apart = "k_proj_weight" in layer.params
    return {
        "key_dim": _heads(facts["e"], facts["num_heads"]),
        "kdim": facts["j"] if apart else None,
        "vdim": facts["k"] if apart else None,
    }


def _heads(size: int, heads: object) -> Any:
    return size // heads if isinstance(heads, int) and heads > 0 else UNKNOWN


_DERIVED: Mapping[Family, Callable[[Layer, Facts], Facts]] = {
    Family.RECURRENT: _recurrent,
    Family.NORM: _normalised,
    Family.BATCH_NORM: _batch_norm,
    Family.CONVOLUTION: _convolution,
    Family.TRANSPOSED: _transposed,
    Family.SLOPES: _slopes,
    Family.ATTENTION: _attention,
}


def _short(numbers: Any) -> Any:
    """Return equal numbers as one, others as a tuple."""
    if not isinstance(numbers, list | tuple):
        return numbers
    return numbers[0] if len(set(numbers)) == 1 else tuple(numbers)
