"""The call that builds each layer on the target: what a checkpoint's user has to write.

Sizes come from the shapes, hyper-parameters from what the source file records. What it does not
record stands in the call with the source framework's default and is listed as an assumption.
"""

from __future__ import annotations

from dataclasses import replace

from ckptconv.codegen.arguments import facts_of, hyper_parameters
from ckptconv.graph.forms import Call, Facts, Form, Forms, Note
from ckptconv.graph.graph import Layer, RecurrentLayer
from ckptconv.graph.kinds import KINDS, PARAMETER, UNKNOWN


def constructor(layer: Layer, target: Forms, source: Forms) -> str:
    """Return the call that builds this layer on a target, or ``""`` where it has no such layer.

    Args:
        target: the target's column of the table of layers.
        source: the column of the framework whose defaults hold for what the file does not record.

    Returns:
        One expression in terms of ``nn`` (torch's or MindSpore's), ``mint`` or ``layers`` (of
        Keras); a list of calls where the target needs several layers in a row.
    """
    form = target.get(layer.kind)
    if form is None:
        return ""
    facts = facts_of(layer, source)
    calls = _levels(form, facts) if form.pair else [form.call.text(facts)]
    around = [_optional(call, facts) for call in (form.before, form.after)]
    calls = [*around[0], *calls, *around[1]]
    return calls[0] if len(calls) == 1 else f"[{', '.join(calls)}]"


def unknown(layer: Layer, source: Forms) -> list[str]:
    """Return what the source file does not record of a layer, each with what is assumed."""
    _, assumed = hyper_parameters(layer, source)
    if isinstance(layer, RecurrentLayer) and not layer.is_cell and layer.num_layers == 1:
        assumed.pop("dropout", None)
    several = layer.kind == "LayerNorm" and next(iter(layer.params.values())).ndim > 1
    if several and type(layer.attributes.get("begin_norm_axis")) is not int:
        assumed["begin_norm_axis"] = 1
    texts = [_assumption(name, value) for name, value in assumed.items()]
    texts += [f"{name} ({value!r} is assumed)" for name, value in layer.assumed.items()]
    if len(layer.candidates) > 1:
        texts.insert(0, "which of " + ", ".join(layer.candidates))
    said = {*assumed, *layer.assumed}
    for kind in (kind for kind in layer.candidates if kind != layer.kind):
        _, more = hyper_parameters(replace(layer, kind=kind), source)
        new = {name: value for name, value in more.items() if name not in said}
        texts += [_assumption(name, value, f" of {kind}") for name, value in new.items()]
        said |= more.keys()
    return texts


def standing_notes(layer: Layer, target: Forms) -> list[str]:
    """Return what a user of ``target`` must know of this layer, beside how it is built."""
    form, said, notes = target.get(layer.kind), layer.attributes, list[str]()
    for note in form.notes if form else _without(layer):
        if not note.attribute or (note.attribute in said and said[note.attribute] in note.values):
            settings = [f"{name}={said[name]!r}" for name in note.settings if name in said]
            notes.append(note.text + (f", with {', '.join(settings)}" if settings else ""))
    return notes


def _without(layer: Layer) -> list[Note]:
    """Return what is to be known of a layer that the target does not have."""
    text = f"there is no {layer.kind} here: a module of your own computes it of these parameters"
    named = layer.kind != PARAMETER
    return [Note(text, settings=tuple(KINDS[layer.kind].hyper))] if named else []


def _assumption(name: str, value: object, owner: str = "") -> str:
    if value is UNKNOWN:
        return f"{name}{owner} (must be given)"
    return f"{name}{owner} ({value!r} is assumed)"


def _optional(call: Call | None, facts: Facts) -> list[str]:
    """Return a layer that stands for an option, where the option is set."""
    missing = call is None or any(facts[fact] is None for fact in call.places)
    return [] if call is None or missing else [call.text(facts)]


def _levels(form: Form, facts: Facts) -> list[str]:
    """Return a call for each level; dropout acts on the input of a level."""
    calls = []
    for k in range(facts["num_layers"]):
        last = k == facts["num_layers"] - 1
        call = form.call.text(
            facts
            | {"dropout": facts["dropout"] if k else 0.0}
            | {"return_sequences": facts["return_sequences"] or not last},
        )
        paired = f"{form.call.space}.{form.pair}({call})"
        calls.append(paired if facts["bidirectional"] else call)
    return calls
