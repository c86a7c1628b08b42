"""The call that builds each layer on the target: what a checkpoint's user has to write.

Sizes come from the shapes, hyper-parameters from what the source file records. What it does not
record stands in the call with the source framework's default and is listed as an assumption.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from ckptconv.constructor_table import CALLS, IMPLIED, OTHERWISE, UNKNOWN, UNRECORDED, UNSAID
from ckptconv.gates import CANONICAL
from ckptconv.graph import Layer
from ckptconv.layers import KINDS, MINT

_TEMPLATE = re.compile(r"([\w.]+)\(([^|]*)(?:\|(.*))?\)")
_RANKED = re.compile(r"(BatchNorm|InstanceNorm|ConvTranspose|Conv)([123])d")
_COLUMN = {"torch": 0, "mindspore": 1, "mint": 1, "keras": 2}
_LONGEST = 20
_LIMIT = 1e9
_ABSENT = object()
_PER_AXIS = ("stride", "padding", "dilation", "output_padding")
Facts = dict[str, Any]


def constructor(layer: Layer, target: str, source: str = "torch") -> str:
    """Return the call that builds this layer on ``target``, or ``""`` where it has no such layer.

    Args:
        target: ``torch``, ``mindspore``, ``mint`` or ``keras``.
        source: the framework whose defaults hold for what the file does not record.

    Returns:
        One expression in terms of ``nn`` (torch's or MindSpore's), ``mint`` or ``layers`` (of
        Keras); a list of calls where the target needs several layers in a row.
    """
    kind, rank = _base(layer.kind)
    template = CALLS.get(kind, ("", "", ""))[_COLUMN[target]]
    if target == "mint" and layer.kind in MINT:
        template = CALLS[kind][0].replace("nn.", "mint.nn.", 1)
    if not template:
        return ""
    template = template.replace("Nd", f"{rank}d").replace("ND", f"{rank}D")
    facts = _facts(layer, source)
    if target == "keras" and layer.kind in CANONICAL:
        return _keras_stack(template, facts)
    call = _render(template, facts)
    return _keras_padded(call, kind, facts) if target == "keras" else call


def unknown(layer: Layer, source: str = "torch") -> list[str]:
    """Return what the source file does not record of a layer, each with what is assumed."""
    _, assumed = _hyper(layer, source)
    if layer.kind in CANONICAL and layer.num_layers == 1:
        assumed.pop("dropout", None)
    if layer.kind == "LayerNorm" and layer.params["weight"].ndim > 1:
        assumed["begin_norm_axis"] = 1
    texts = [
        f"{name} (must be given)" if value == UNKNOWN else f"{name} ({value!r} is assumed)"
        for name, value in assumed.items()
    ]
    if len(layer.candidates) > 1:
        texts.insert(0, "which of " + ", ".join(layer.candidates))
    return texts


def _base(kind: str) -> tuple[str, str]:
    match = _RANKED.fullmatch(kind)
    return (match[1], match[2]) if match else (kind, "")


def _hyper(layer: Layer, source: str) -> tuple[Facts, Facts]:
    """Return the hyper-parameters that no shape tells: (all of them, those only assumed)."""
    kind, _ = _base(layer.kind)
    facts: Facts = {}
    assumed: Facts = {}
    for name, default in UNRECORDED.get(kind, {}).items():
        value = layer.attributes.get(name, IMPLIED.get(source, {}).get(name, _ABSENT))
        if _possible(value, default):
            facts[name] = value
            continue
        usual = OTHERWISE.get(source, {}).get((kind, name), default)
        nameless = value is not _ABSENT and not isinstance(default, float)
        facts[name] = assumed[name] = UNKNOWN if nameless else usual
    return facts, assumed


def _possible(value: Any, default: object) -> bool:
    """Tell whether a value from a file can be this hyper-parameter."""
    number = isinstance(value, int | float) and -_LIMIT < value < _LIMIT
    if isinstance(default, bool) or (isinstance(default, str) and default != UNKNOWN):
        return type(value) is type(default) and len(repr(value)) <= _LONGEST
    if isinstance(default, int):
        row = isinstance(value, list | tuple) and 0 < len(value) <= 3
        whole = row and all(isinstance(n, int) and abs(n) < _LIMIT for n in value)
        return whole or (isinstance(value, int) and number) or value in ("same", "valid")
    return number or (value is None and default != UNKNOWN)


def _facts(layer: Layer, source: str) -> Facts:
    kind, _ = _base(layer.kind)
    facts = {**_sizes(layer), **_hyper(layer, source)[0]}
    derive = _DERIVED.get(kind)
    return facts | derive(layer, facts) if derive else facts


def _sizes(layer: Layer) -> Facts:
    """Return sizes by the axis letters of the table of layers, and which parameters there are."""
    sizes: Facts = {"bias": False, "weight": False}
    for row in KINDS.get(layer.kind, ()):
        tensor = layer.params.get(row.name)
        if tensor is not None:
            sizes.update(zip(row.axes, tensor.shape, strict=False))
            sizes[row.name] = True
    return sizes


def _recurrent(layer: Layer, facts: Facts) -> Facts:
    cell = layer.cells()[0, 0]
    gates = len(CANONICAL[layer.recurrent or "RNN"])
    return {
        "input_size": cell.w_ih.shape[1],
        "hidden_size": cell.w_hh.shape[0] // gates,
        "num_layers": layer.num_layers,
        "bidirectional": layer.num_directions == 2,
        "bias": cell.b_ih is not None,
        "proj_size": cell.w_hr.shape[0] if cell.w_hr is not None else 0,
        "dropout": float(facts.get("dropout") or 0),
        "return_sequences": layer.attributes.get("return_sequences") is not False,
        "reset_after": True,
    }


def _normalised(layer: Layer, _: Facts) -> Facts:
    shape = layer.params["weight"].shape
    if len(shape) == 1:
        return {"shape": shape, "axes": -1, "first": -1}
    return {"shape": shape, "axes": list(range(-len(shape), 0)), "first": 1}


def _batch_norm(layer: Layer, facts: Facts) -> Facts:
    tracked, momentum = "running_mean" in layer.params, facts["momentum"]
    return {
        "affine": facts["weight"],
        "track_running_stats": tracked,
        "use_batch_statistics": None if tracked else True,
        "kept": 0.9 if momentum is None else round(1 - momentum, 12),
    }


def _convolution(layer: Layer, facts: Facts) -> Facts:
    shape, padding = layer.params["weight"].shape, facts["padding"]
    grouped = "o" if "Transpose" in layer.kind else "i"
    word = padding if isinstance(padding, str) else None
    return {
        **{name: _short(value) for name, value in facts.items() if name in _PER_AXIS},
        grouped: facts[grouped] * (facts["groups"] if isinstance(facts["groups"], int) else 1),
        "kernel": _short(shape[2:]),
        "pad_mode": word or "pad",
        "pads": 0 if word else _mindspore_pads(facts, len(shape) - 2),
        "pad_word": word or "valid",
    }


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
    numbers = value if isinstance(value, list | tuple) else [value] * rank
    return [n if isinstance(n, int) else 0 for n in numbers]


def _attention(layer: Layer, facts: Facts) -> Facts:
    apart = "k_proj_weight" in layer.params
    return {
        "bias": "in_proj_bias" in layer.params,
        "add_bias_kv": "bias_k" in layer.params,
        "key_dim": _heads(facts["e"], facts["num_heads"]),
        "kdim": facts["j"] if apart else None,
        "vdim": facts["k"] if apart else None,
    }


def _heads(size: int, heads: object) -> Any:
    return size // heads if isinstance(heads, int) and heads > 0 else UNKNOWN


_DERIVED: Mapping[str, Callable[[Layer, Facts], Facts]] = {
    **dict.fromkeys((*CANONICAL, *(f"{kind}Cell" for kind in CANONICAL)), _recurrent),
    **dict.fromkeys(("LayerNorm", "RMSNorm"), _normalised),
    **dict.fromkeys(("BatchNorm", "InstanceNorm"), _batch_norm),
    **dict.fromkeys(("Conv", "ConvTranspose"), _convolution),
    "MultiheadAttention": _attention,
    "PReLU": lambda *_: {"shared_axes": UNKNOWN},
}


def _short(numbers: Any) -> Any:
    """Return equal numbers as one, others as a tuple."""
    if not isinstance(numbers, list | tuple):
        return numbers
    return numbers[0] if len(set(numbers)) == 1 else tuple(numbers)


def _render(template: str, facts: Facts) -> str:
    match = _TEMPLATE.fullmatch(template)
    if match is None:
        raise ValueError(template)
    name, places, keywords = match.groups(default="")
    arguments = [_text(facts[fact]) for fact in places.replace(" ", "").split(",") if fact]
    for item in filter(None, keywords.replace(" ", "").split(",")):
        keyword, _, fact = item.partition("=")
        value = facts[fact or keyword]
        if keyword not in UNSAID or UNSAID[keyword] != value:
            arguments.append(f"{keyword}={_text(value)}")
    return f"{name}({', '.join(arguments)})"


def _text(value: object) -> str:
    return UNKNOWN if value == UNKNOWN else repr(value)


def _keras_stack(template: str, facts: Facts) -> str:
    """Keras has one layer and direction in a layer; dropout acts on the input of a layer."""
    calls = []
    for k in range(facts["num_layers"]):
        last = k == facts["num_layers"] - 1
        call = _render(
            template,
            facts
            | {"dropout": facts["dropout"] if k else 0.0}
            | {"return_sequences": facts["return_sequences"] or not last},
        )
        calls.append(f"layers.Bidirectional({call})" if facts["bidirectional"] else call)
    return calls[0] if len(calls) == 1 else f"[{', '.join(calls)}]"


def _keras_padded(call: str, kind: str, facts: Facts) -> str:
    """Keras's convolutions pad by a word only: numbers become a layer before or after."""
    padding = facts.get("padding", 0)
    if not kind.startswith("Conv") or isinstance(padding, str) or padding == 0:
        return call
    rank = call.partition("D")[0][-1]
    if kind == "ConvTranspose":
        return f"[{call}, layers.Cropping{rank}D({padding!r})]"
    return f"[layers.ZeroPadding{rank}D({padding!r}), {call}]"
