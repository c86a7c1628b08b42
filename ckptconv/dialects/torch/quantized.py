"""torch's quantized modules, as the float modules whose weights they hold.

Packed weights stand under names of their place (``ckptconv.formats.torch.packed``):

- Linear: ``_packed_params._packed_params.{0,1}`` are weight and bias; Embedding:
  ``_packed_params._packed_weight``;
- cells: ``_packed_weight_{ih,hh}.{0,1}``;
- dynamic LSTM and GRU: ``_all_weight_values.N.param``, N over (layer, direction), with
  ``4.{0,1}.{0,1}`` for weight and bias of (input, state), and the biases again as ``1.{0,1}``;
- quantizable LSTM: ``layers.K.layer_{fw,bw}.cell.{i,h}gates``, a Linear or (split) four.

Source: ``torch.ao.nn.quantized``, ``torch.ao.nn.quantizable``, ``torch.ao.quantization``. A
quantized module rounds activations too, so its outputs are not those of the float module: that
needs the user's leave. float16 packing rounds nothing but the weights, which are read as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple

from ckptconv.checkpoint import Checkpoint, Module, join
from ckptconv.dialects.evidence import Evidence
from ckptconv.errors import AmbiguousKindError, DialectError, LossyError
from ckptconv.graph.hints import KindHint
from ckptconv.options import ReadOptions
from ckptconv.spelling import option
from ckptconv.tensors.ops import concat
from ckptconv.tensors.tensor import Tensor

ALLOW = "dequantize"
"""What the user allows, and the label of a tensor that a container dequantizes."""
_GATES = ("input", "forget", "cell", "output")
_PLACED = (
    # where it stands below its module → parameter, class
    (r"_packed_params\._packed_params\.0|_packed_params\.weight", "weight", "Linear"),
    (r"_packed_params\._packed_params\.1|_packed_params\.bias", "bias", "Linear"),
    (r"_packed_params\._packed_weight", "weight", "Embedding"),
    (r"_packed_weight_ih\.0", "weight_ih", None),
    (r"_packed_weight_hh\.0", "weight_hh", None),
    (r"_packed_weight_ih\.1", "bias_ih", None),
    (r"_packed_weight_hh\.1", "bias_hh", None),
)
_PLACES = tuple((re.compile(rf"(?:(.*)\.)?(?:{row[0]})"), *row[1:]) for row in _PLACED)
_STACKED = re.compile(r"(?:(.*)\.)?_all_weight_values\.(\d{1,4})\.param\.(1|4\.([01]))\.([01])")
_GATED = re.compile(
    r"(?:(.*)\.)?layers\.(\d{1,4})\.layer_(fw|bw)\.cell\.([ih])gates"
    rf"(?:\.({'|'.join(_GATES)}))?\.(weight|bias)"
)
_OBSERVER = re.compile(
    r"(?:.*\.)?(?:activation_post_process|weight_fake_quant)(?:_\d+)?"
    r"\.(?:scale|zero_point|eps|min_vals?|max_vals?|histogram|\w+_enabled)"
)
_MARK = re.compile(r"_packed_|_all_weight_values|gates|activation_post_process|fake_quant")
_FAKE = "fake_quant_enabled"


class _Place(NamedTuple):
    """Where a parameter of the float module is: ``gate`` is for one that stands in four parts."""

    path: str
    leaf: str
    class_name: str | None = None
    gate: str = ""


def without_quantization(checkpoint: Checkpoint, options: ReadOptions) -> Checkpoint:
    """Return a state_dict with plain float weights in the place of packed and quantized ones.

    Raises:
        LossyError: quantized weights, and ``--allow dequantize`` is not set.
        AmbiguousKindError: the file does not tell two layers from two directions.
    """
    names = checkpoint.tensors
    quantized = {name: t.inputs[0].dtype.name for name, t in names.items() if t.label == ALLOW}
    if not quantized and not any(map(_MARK.search, names)):
        return checkpoint
    fake = [name for name in names if name.endswith(_FAKE)]
    if (quantized or fake) and ALLOW not in options.allow:
        name = next(iter([*quantized, *fake]))
        raise LossyError(
            "a quantized model, which rounds its activations too",
            file=checkpoint.path,
            tensor=name,
            expected="float weights",
            found=f"{len(quantized)} of {quantized[name]}" if quantized else "fake quantization",
            hint=f"{option('allow', [ALLOW])}; it gives the float model with the "
            "dequantized weights",
        )
    is_packed = bool(quantized) or any(_packed(name) for name in names)
    omitted = {name: rule for name in names if (rule := _left_out(name, names, is_packed))}
    directions = _directions(checkpoint, options.kinds)
    places = {name: _place(name, directions) for name in names if name not in omitted}
    notes = checkpoint.notes
    if quantized:
        told = f"dequantized as allowed: {len(quantized)} weights are (q - zero point) · scale"
        notes = (*notes, told)
    return replace(
        checkpoint,
        tensors=_float_tensors(names, places),
        modules=_with_classes(checkpoint.modules, places.values()),
        notes=notes,
        omitted={**checkpoint.omitted, **omitted},
    )


def _left_out(name: str, names: Mapping[str, Tensor], is_packed: bool) -> str | None:
    """Return the rule by which the float model has no such parameter."""
    path = name.rpartition(".")[0]
    stacked = _STACKED.fullmatch(name)
    if stacked and stacked[3] == "1":
        return "a bias once more: the packed weights hold it"
    if _OBSERVER.fullmatch(name):
        return "what quantization observed of the values in training"
    pair = [names.get(join(path, other)) for other in ("scale", "zero_point")]
    kinds = [t.dtype.kind for t in pair if t is not None and t.size == 1]
    if is_packed and names[name] in pair and kinds == ["f", "i"]:
        return "a scale or zero point of quantized activations"
    return None


def _place(name: str, directions: Mapping[str, int]) -> _Place:
    path, _, leaf = name.rpartition(".")
    place = _packed(name) or _Place(path, leaf)
    plain = join(place.path, place.leaf)
    if stacked := _STACKED.fullmatch(plain):
        k, d = divmod(int(stacked[2]), directions.get(stacked[1] or "", 1))
        leaf = ("weight", "bias")[int(stacked[5])] + ("_ih", "_hh")[int(stacked[4])]
        return _Place(stacked[1] or "", f"{leaf}_l{k}" + "_reverse" * d)
    if gated := _GATED.fullmatch(plain):
        path, k_, side, part, gate, leaf = gated.groups(default="")
        return _Place(path, f"{leaf}_{part}h_l{k_}" + "_reverse" * (side == "bw"), gate=gate)
    return place


def _packed(name: str) -> _Place | None:
    """Return the place of what one packed object holds; None for a name that no such object has."""
    for pattern, leaf, class_name in _PLACES if "_packed_" in name else ():
        if match := pattern.fullmatch(name):
            return _Place(match[1] or "", leaf, class_name)
    return None


def _float_tensors(names: Mapping[str, Tensor], places: Mapping[str, _Place]) -> dict[str, Tensor]:
    parts: dict[str, dict[str, Tensor]] = {}
    for name, place in places.items():
        parts.setdefault(join(place.path, place.leaf), {})[place.gate] = names[name]
    if sum(map(len, parts.values())) < len(places):
        raise DialectError("a weight stands in the file both plain and packed")
    return {plain: _joined(plain, gates) for plain, gates in parts.items()}


def _joined(plain: str, gates: Mapping[str, Tensor]) -> Tensor:
    if set(gates) == {""}:
        return gates[""]
    alike = {(tensor.shape, tensor.dtype) for tensor in gates.values()}
    if set(gates) != set(_GATES) or len(alike) > 1 or () in {t.shape for t in gates.values()}:
        raise DialectError(
            "a weight in parts that do not fit together",
            tensor=plain,
            expected=f"{', '.join(_GATES)}, of one shape and dtype",
            found=", ".join(f"{gate or 'whole'} {t.shape}" for gate, t in gates.items()),
        )
    return concat([gates[gate] for gate in _GATES], 0)


def _with_classes(modules: Mapping[str, Module], places: Iterable[_Place]) -> dict[str, Module]:
    found = dict(modules)
    for place in places:
        if place.class_name and not found.get(place.path, Module()).class_name:
            known = found.get(place.path, Module())
            found[place.path] = known._replace(class_name=place.class_name)
    return found


def _directions(checkpoint: Checkpoint, kinds: Mapping[str, KindHint]) -> dict[str, int]:
    """Return the path of each dynamically quantized LSTM or GRU → its number of directions."""
    widths: dict[str, dict[tuple[int, str], int]] = {}
    for name, tensor in checkpoint.tensors.items():
        match = _STACKED.fullmatch(name) if tensor.ndim == 2 else None
        if match:
            place = int(match[2]), match[4] or ""
            widths.setdefault(match[1] or "", {})[place] = tensor.shape[1]
    return {path: _count(path, found, checkpoint, kinds) for path, found in widths.items()}


def _count(
    path: str,
    widths: Mapping[tuple[int, str], int],
    checkpoint: Checkpoint,
    kinds: Mapping[str, KindHint],
) -> int:
    """Tell directions from layers: what a layer takes in is what the one below gives out.

    Args:
        widths: (place, ``"0"`` for input or ``"1"`` for state) → columns of that weight.
    """
    told = Evidence(path, {}, kinds, checkpoint.modules).said.get("bidirectional")
    if told in (True, False):
        return 2 if told else 1
    cells = 1 + max(index for index, _ in widths)
    hidden = widths.get((0, "1"))
    if cells == 2 and widths.get((0, "0")) == hidden == widths.get((1, "0")):
        raise AmbiguousKindError(
            "the file does not tell two layers from two directions",
            file=checkpoint.path,
            tensor=path,
            found=f"two cells of input and state size {hidden}",
            hint=" or ".join(
                option("kinds", {path: f"LSTM(bidirectional={x})"}) for x in (True, False)
            )
            + "; or GRU",
        )
    second = widths.get((2 if cells > 2 else 1, "0"))
    return 1 if cells % 2 or second == hidden else 2
