"""torch's quantized modules, as the float modules whose weights they hold.

Packed weights stand under names of their place (``ckptconv.containers.torch_packed``):

- Linear: ``_packed_params._packed_params.{0,1}`` are weight and bias; Embedding:
  ``_packed_params._packed_weight``;
- cells: ``_packed_weight_{ih,hh}.{0,1}``;
- dynamic LSTM and GRU: ``_all_weight_values.N.param``, N over (layer, direction), with
  ``4.{0,1}.{0,1}`` for weight and bias of (input, state), and the biases again as ``1.{0,1}``;
- quantizable LSTM: ``layers.K.layer_{fw,bw}.cell.{i,h}gates``, where asked for with a Linear a gate.

Source: ``torch.ao.nn.quantized``, ``torch.ao.nn.quantizable``, ``torch.ao.quantization``. A
quantized module rounds activations too, so its outputs are not those of the float module: that
needs the user's leave. float16 packing rounds nothing but the weights, which are read as they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from ckptconv.checkpoint import Checkpoint, Module
from ckptconv.errors import AmbiguousKindError, LossyError
from ckptconv.kinds import KindHint
from ckptconv.options import Options
from ckptconv.relayout import concat
from ckptconv.tensor import Tensor

ALLOW = "dequantize"
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
_OBSERVER = re.compile(r"(?:.*\.)?(?:activation_post_process|weight_fake_quant)(?:_\d+)?\.\w+")
_FAKE = "fake_quant_enabled"
_RULES = {
    "activation": "a scale or zero point of quantized activations",
    "observer": "what quantization observed of the values in training",
    "bias": "a bias once more: the packed weights hold it",
}


class _Found(NamedTuple):
    """Plain name → values, class per module path, and what was left out."""

    tensors: dict[str, Tensor]
    classes: dict[str, str]
    omitted: dict[str, str]


def without_quantization(checkpoint: Checkpoint, options: Options) -> Checkpoint:
    """Return a state_dict with plain float weights in the place of packed and quantized ones.

    Raises:
        LossyError: quantized weights, and ``--allow dequantize`` is not set.
        AmbiguousKindError: the file does not tell two layers from two directions.
    """
    names = checkpoint.tensors
    quantized = checkpoint.metadata.get("quantized", {})
    fake = [name for name in names if name.endswith(_FAKE)]
    if (quantized or fake) and ALLOW not in options.allow:
        name = next(iter([*quantized, *fake]))
        raise LossyError(
            "a quantized model, which rounds its activations too",
            file=checkpoint.path,
            tensor=name,
            expected="float weights",
            found=f"{len(quantized) or len(fake)} of {quantized.get(name, 'a fake quantization')}",
            hint=f"--allow {ALLOW}, which gives the float model with the dequantized weights",
        )
    found = _unpacked(checkpoint, _directions(checkpoint, options.kinds), bool(quantized))
    modules = dict(checkpoint.modules)
    for path, name in found.classes.items():
        known = modules.get(path, Module())
        modules[path] = replace(known, class_name=known.class_name or name)
    notes = list(checkpoint.notes)
    if quantized:
        notes.append(f"--allow {ALLOW}: {len(quantized)} weights are (q - zero point) · scale")
    return replace(
        checkpoint,
        tensors=found.tensors,
        modules=modules,
        notes=notes,
        omitted={**checkpoint.omitted, **found.omitted},
    )


def _unpacked(checkpoint: Checkpoint, directions: Mapping[str, int], quantized: bool) -> _Found:
    found = _Found({}, {}, {})
    gates: dict[str, dict[str, Tensor]] = {}
    for name, tensor in checkpoint.tensors.items():
        placed = _placed(name)
        stacked, gated = _STACKED.fullmatch(name), _GATED.fullmatch(_linear(name))
        if gated:
            path, k, side, part, gate, leaf = gated.groups(default="")
            plain = f"{leaf}_{part}h_l{k}" + ("_reverse" if side == "bw" else "")
            gates.setdefault(_join(path, plain), {})[gate] = tensor
            found.tensors.setdefault(_join(path, plain), tensor)
        elif stacked and stacked[3] == "1":
            found.omitted[name] = _RULES["bias"]
        elif stacked:
            path = stacked[1] or ""
            k, d = divmod(int(stacked[2]), directions[path])
            leaf = ("weight", "bias")[int(stacked[5])] + ("_ih", "_hh")[int(stacked[4])]
            found.tensors[_join(path, f"{leaf}_l{k}" + "_reverse" * d)] = tensor
        elif placed:
            path, leaf, cls = placed
            found.tensors[_join(path, leaf)] = tensor
            found.classes |= {path: cls} if cls else {}
        elif _OBSERVER.fullmatch(name):
            found.omitted[name] = _RULES["observer"]
        elif quantized and tensor.size == 1 and _is_activation(name, checkpoint.tensors):
            found.omitted[name] = _RULES["activation"]
        else:
            found.tensors[name] = tensor
    for name, parts in gates.items():
        if set(parts) == set(_GATES):
            found.tensors[name] = concat([parts[gate] for gate in _GATES], 0)
    return found


def _placed(name: str) -> tuple[str, str, str | None] | None:
    """Return (module path, parameter, class) of a packed weight."""
    if "_packed_" not in name:
        return None
    for pattern, leaf, cls in _PLACES:
        match = pattern.fullmatch(name)
        if match:
            return match[1] or "", leaf, cls
    return None


def _linear(name: str) -> str:
    """Return the plain name of a packed Linear's parameter, as one inside another module."""
    placed = _placed(name)
    return _join(placed[0], placed[1]) if placed else name


def _is_activation(name: str, names: Mapping[str, Tensor]) -> bool:
    path, _, leaf = name.rpartition(".")
    pair = {"scale", "zero_point"}
    return leaf in pair and all(_join(path, other) in names for other in pair)


def _directions(checkpoint: Checkpoint, kinds: Mapping[str, KindHint]) -> dict[str, int]:
    """Return the path of each dynamically quantized LSTM or GRU → its number of directions."""
    widths: dict[str, dict[int, tuple[int, ...]]] = {}
    for name, tensor in checkpoint.tensors.items():
        match = _STACKED.fullmatch(name)
        if match and (match[4], match[5]) in (("0", "0"), ("1", "0")) and tensor.ndim == 2:
            place = widths.setdefault(match[1] or "", {})
            place[int(match[2])] = (*place.get(int(match[2]), ()), tensor.shape[1])
    return {path: _count(path, found, checkpoint, kinds) for path, found in widths.items()}


def _count(
    path: str,
    widths: Mapping[int, tuple[int, ...]],
    checkpoint: Checkpoint,
    kinds: Mapping[str, KindHint],
) -> int:
    """Tell directions from layers: the second layer's input is the first one's output.

    Args:
        widths: place → columns of its (input, state) weights.
    """
    module = checkpoint.modules.get(path)
    said = dict(kinds[path].arguments) if path in kinds else {}
    known = {**(dict(module.attributes) if module else {}), **said}.get("bidirectional")
    if isinstance(known, bool):
        return 1 + known
    if len(widths) % 2:
        return 1
    features, hidden = widths[0] if 0 in widths else (0, 0)
    if len(widths) == 2 and features == hidden:
        raise AmbiguousKindError(
            "the file does not tell two layers from two directions",
            tensor=path,
            expected="two layers or two directions",
            found=f"two cells of input and state size {hidden}",
            hint=f"--kind '{path}=LSTM(bidirectional=True)' or False (or GRU)",
        )
    following = widths.get(2 if len(widths) > 2 else 1, (0, 0))[0]
    return 2 if following == (2 * hidden if len(widths) > 2 else features) else 1


def _join(path: str, leaf: str) -> str:
    return f"{path}.{leaf}" if path else leaf
