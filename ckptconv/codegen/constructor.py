"""The call that builds each layer on the target: what a checkpoint's user has to write.

Sizes come from the shapes, hyper-parameters from what the source file records. What it does not
record stands in the call with the source framework's default and is listed as an assumption.
"""

from __future__ import annotations

import re

from ckptconv.codegen.arguments import Facts, facts_of, hyper_parameters
from ckptconv.codegen.constructor_table import CALLS, UNKNOWN, UNSAID, base_kind
from ckptconv.graph.gates import CANONICAL
from ckptconv.graph.graph import Layer
from ckptconv.graph.kinds import MINT

_TEMPLATE = re.compile(r"([\w.]+)\(([^|]*)(?:\|(.*))?\)")
_COLUMN = {"torch": 0, "mindspore": 1, "mint": 1, "keras": 2}


def constructor(layer: Layer, target: str, source: str = "torch") -> str:
    """Return the call that builds this layer on ``target``, or ``""`` where it has no such layer.

    Args:
        target: ``torch``, ``mindspore``, ``mint`` or ``keras``.
        source: the framework whose defaults hold for what the file does not record.

    Returns:
        One expression in terms of ``nn`` (torch's or MindSpore's), ``mint`` or ``layers`` (of
        Keras); a list of calls where the target needs several layers in a row.
    """
    kind, rank = base_kind(layer.kind)
    template = CALLS.get(kind, ("", "", ""))[_COLUMN[target]]
    if target == "mint" and layer.kind in MINT:
        template = CALLS[kind][0].replace("nn.", "mint.nn.", 1)
    if not template:
        return ""
    template = template.replace("Nd", f"{rank}d").replace("ND", f"{rank}D")
    facts = facts_of(layer, source)
    if target == "keras" and layer.kind in CANONICAL:
        return _keras_stack(template, facts)
    call = _render(template, facts)
    return _keras_padded(call, kind, facts) if target == "keras" else call


def unknown(layer: Layer, source: str = "torch") -> list[str]:
    """Return what the source file does not record of a layer, each with what is assumed."""
    _, assumed = hyper_parameters(layer, source)
    if layer.kind in CANONICAL and layer.num_layers == 1:
        assumed.pop("dropout", None)
    if layer.kind == "LayerNorm" and next(iter(layer.params.values())).ndim > 1:
        assumed["begin_norm_axis"] = 1
    texts = [
        f"{name} (must be given)" if value == UNKNOWN else f"{name} ({value!r} is assumed)"
        for name, value in assumed.items()
    ]
    if len(layer.candidates) > 1:
        texts.insert(0, "which of " + ", ".join(layer.candidates))
    return texts


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
