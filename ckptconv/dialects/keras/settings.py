"""Keras's classes and settings in the canonical graph's words, and those that nothing equals."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ckptconv.dialects.keras.activations import activation
from ckptconv.dialects.keras.grouping import Unit
from ckptconv.dialects.keras.layers import FORMS
from ckptconv.errors import LossyError
from ckptconv.options import ReadOptions
from ckptconv.spelling import option

LENGTHS = "give the sequences' lengths to the layers after it"
_SAME = ("return_sequences", "return_state", "go_backwards")
_REMARKS = (
    # setting, values that need nothing, remark
    ("stateful", (False,), "stateful: hand the final state to the next call yourself"),
    ("time_major", (False,), "time_major: the sequence is the first axis"),
    ("mask_zero", (False,), f"mask_zero: {LENGTHS}"),
    ("zero_output_for_mask", (False,), "zero_output_for_mask: set masked outputs to zero yourself"),
    ("dropout", (0, 0.0), "dropout acts on this layer's input, in training only"),
    ("recurrent_dropout", (0, 0.0), "recurrent_dropout acts in training only"),
)
_BACKWARDS = "go_backwards: reverse the input along time; the output stays in that reversed order"
_BACKWARD_HALF = (
    "half of a Bidirectional: reverse the input along time; Bidirectional turns the output of the "
    "last of these cells back and joins it after the forward half's"
)
_LAST = (
    "return_sequences=False: take the last step of the output (of a backward direction: its first)"
)
_SIGMOIDS = ("recurrent_activation", "inner_activation")


def attributes(kind: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a layer as torch's constructor arguments."""
    form = FORMS.get(kind)
    recorded = {**dict(zip(_SAME, _SAME, strict=True)), **(form.recorded if form else {})}
    found = {recorded[k]: v for k, v in config.items() if k in recorded}
    if isinstance(config.get("epsilon"), int | float):
        found["eps"] = float(config["epsilon"])
    momentum = config.get("momentum")
    if kind.startswith("BatchNorm") and isinstance(momentum, int | float):
        found["momentum"] = round(1 - momentum, 12)
    return found


def notes(config: Mapping[str, Any]) -> list[str]:
    """Return what the user must do beside building a layer that is not recurrent."""
    remarks = _remarks(config)
    if (name := activation(config.get("activation"))) != "linear":
        remarks.append(f"activation: apply {name} to this layer's output")
    return remarks


def by_network() -> str:
    """Advise a network, which has what no layer of a target holds."""
    return f"{option('network', 'FILE.py')}; it writes a layer that has it"


def sequence_notes(unit: Unit) -> list[str]:
    """Return what the user must do beside building a recurrent layer, one cell of it, or a half."""
    said, (index, count) = settings(unit), unit.part.place if unit.part else (0, 1)
    remarks = []
    if index == 0 and said.get("go_backwards") and (unit.half is None or unit.stacked):
        remarks.append(_BACKWARD_HALF if unit.half else _BACKWARDS)
    runs = unit.entry is not None and (unit.in_cell or "return_sequences" in said)
    if runs and index == count - 1 and not said.get("return_sequences", False):
        remarks.append(_LAST)
    return [*remarks, *_remarks(said)]


def _remarks(config: Mapping[str, Any]) -> list[str]:
    told = [text for key, plain, text in _REMARKS if config.get(key, plain[0]) not in plain]
    narrow = computed_in(config)
    return [*told, f"Keras computes this layer in {narrow}"] if narrow else told


def computed_in(config: Mapping[str, Any]) -> str:
    """Return the dtype that a layer casts its weights to, where they are of another."""
    name = policy(config)
    return name.removeprefix("mixed_") if name.startswith("mixed_") else ""


def policy(config: Mapping[str, Any]) -> str:
    """Return the name of a layer's dtype policy, ``mixed_float16``, or how it is quantized."""
    said = config.get("dtype")
    inner = said.get("config") if isinstance(said, dict) else {"name": said}
    return str((inner.get("name") or inner.get("mode") or "") if isinstance(inner, dict) else "")


def settings(unit: Unit) -> Mapping[str, Any]:
    """Return the layer's settings, a cell's completed by those of the RNN around it."""
    around = unit.part.wrapper("RNN") if unit.part else None
    return {**(around.config if around else {}), **(unit.entry.config if unit.entry else {})}


def check_activations(
    unit: Unit, kind: str, options: ReadOptions
) -> tuple[dict[str, Any], list[str]]:
    """Return (torch's attributes, notes) of a unit's activations.

    Raises:
        LossyError: an activation that torch's and MindSpore's layer does not have.
    """
    config, notes, attributes = settings(unit), [], {}
    if unit.entry is None or unit.entry.class_name.startswith("CuDNN"):
        return {}, []
    wanted = {"activation": ("tanh", "relu") if kind == "RNN" else ("tanh",)}
    if kind != "RNN":
        wanted |= dict.fromkeys(_SIGMOIDS, ("sigmoid",))
    for key, allowed in wanted.items():
        found = activation(config.get(key, allowed[0]))
        if found not in allowed:
            if found not in options.allow:
                raise LossyError(
                    f"{key} {found} has no equal in torch's and MindSpore's {kind}",
                    tensor=unit.path,
                    expected=" or ".join(allowed),
                    found=found,
                    hint=f"{by_network()}; or {option('allow', [found])}; it changes the outputs",
                )
            notes.append(f"{key} {found} was taken for {allowed[0]}, as allowed: outputs differ")
        elif kind == "RNN":
            attributes["nonlinearity"] = found
    return attributes, notes


def hard_by_default(unit: Unit, version: object) -> bool:
    """Tell whether a gated layer's Keras (before 2.3) had hard_sigmoid as its default."""
    bias = unit.leaves.get("bias")
    kernel = unit.leaves.get("kernel")
    if bias is not None and kernel is not None and bias.shape == (2 * kernel.shape[-1],):
        return False  # CuDNN
    if kernel is not None and {"recurrent_kernel"} <= unit.leaves.keys():
        recurrent = unit.leaves["recurrent_kernel"]
        if recurrent.shape[0] == recurrent.shape[-1]:
            return False  # SimpleRNN
    match = re.match(r"(\d+)\.(\d+)", str(version))
    old = match is not None and (int(match[1]), int(match[2])) < (2, 3)
    return old or (unit.keras1 and match is None)
