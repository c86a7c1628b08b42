"""Recurrent layers under torch's parameter names, which MindSpore shares."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from ckptconv.checkpoint import join
from ckptconv.dialects.evidence import Evidence
from ckptconv.dialects.infer_kind import ambiguous
from ckptconv.dialects.remarks import own_cell
from ckptconv.errors import AmbiguousKindError, DialectError
from ckptconv.graph.gates import BY_COUNT
from ckptconv.graph.graph import RECURRENT, Layer, RecurrentLayer, is_recurrent_name
from ckptconv.graph.kinds import PARAMETER
from ckptconv.spelling import option
from ckptconv.tensors.ops import reshape
from ckptconv.tensors.tensor import Tensor, names_and_shapes


def lift_group(evidence: Evidence) -> list[Layer]:
    """Return a recurrent layer, and what stands beside its parameters.

    Raises:
        AmbiguousKindError: a class of the user's own may have made more of it.
    """
    params, hint = evidence.params, evidence.hint
    recurrent = {name: t for name, t in params.items() if is_recurrent_name(name)}
    rest = [name for name in params if name not in recurrent]
    more = [] if evidence.is_told else [*rest, *filter(None, [evidence.inner])]
    own = bool(more) and not any("_l" in name for name in recurrent)
    if own or (hint and hint.kind == PARAMETER):
        return split_parameters(evidence, params, *([own_cell()] if own else []))
    layer = lift_recurrent(replace(evidence, params=recurrent) if rest else evidence)
    if more:
        raise _more_than(layer, more)
    return [layer, *split_parameters(evidence, rest)]


def lift_recurrent(evidence: Evidence) -> RecurrentLayer:
    """Return the LSTM, GRU, RNN or cell that parameters are, its shapes checked.

    Args:
        evidence: parameters of canonical names (``weight_ih_l0_reverse``, or ``weight_ih`` for a
            cell), and what is said of them.

    Raises:
        DialectError: a part is missing or too many, or a shape is not one of such a layer.
    """
    path, params = evidence.path, _flat_biases(evidence.params)
    is_cell = not any("_l" in name for name in params)
    suffix = "" if is_cell else "_l0"
    w_hh, w_hr = params.get("weight_hh" + suffix), params.get("weight_hr" + suffix)
    if w_hh is None or w_hh.ndim != 2 or (w_hr is not None and w_hr.ndim != 2):
        raise DialectError(
            "an incomplete recurrent layer",
            tensor=path,
            expected=f"weight_ih{suffix} and weight_hh{suffix}, both 2-D",
            found=names_and_shapes(params),
            hint=as_parameters(path),
        )
    hidden = w_hh.shape[1] if w_hr is None else w_hr.shape[1]
    blocks, rest = divmod(w_hh.shape[0], max(hidden, 1))
    base = BY_COUNT.get(blocks)
    if base is None or rest:
        raise DialectError(
            "not the shape of a known recurrent layer",
            tensor=f"{path}.weight_hh{suffix}".lstrip("."),
            expected="weight_hh of (4H, H) for LSTM, (3H, H) for GRU or (H, H) for RNN",
            found=w_hh.shape,
            hint=as_parameters(path),
        )
    kind = base + "Cell" if is_cell else base
    reason = f"weight_hh has {blocks} blocks of rows"
    layer = RecurrentLayer(path, kind, dict(params), evidence=reason, candidates=(kind,))
    _check_shapes(layer, _expected_shapes(layer.params, blocks, hidden, suffix))
    return _with_what_is_said(layer, evidence)


def split_parameters(evidence: Evidence, extra: Iterable[str], *notes: str) -> list[Layer]:
    """Return parameters that belong to no known layer, each as a layer of its own."""
    return [
        Layer(
            join(evidence.path, name),
            PARAMETER,
            {"": evidence.params[name]},
            evidence="no known layer",
            notes=notes,
        )
        for name in extra
    ]


def _more_than(layer: Layer, more: Iterable[str]) -> AmbiguousKindError:
    """Return the error on a layer that holds more than one of its kind does."""
    error = ambiguous(layer.path, (layer.kind, PARAMETER), layer.params)
    error.expected = f"{layer.kind}, which holds nothing else, or a class of your own"
    error.found = f"{', '.join(more)} beside its parameters"
    return error


def as_parameters(path: str) -> str:
    """Return the advice that keeps a layer's parameters."""
    return f"{option('kinds', {path: PARAMETER})}; it keeps its parameters as they are"


def _flat_biases(params: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return biases as vectors: torch 0.1 had (1, G·H) in its cells."""
    return {
        name: reshape(tensor, tensor.shape[1:], "an axis of length 1 dropped")
        if name.startswith("bias") and tensor.ndim == 2 and tensor.shape[0] == 1
        else tensor
        for name, tensor in params.items()
    }


def _expected_shapes(
    params: Mapping[str, Tensor], blocks: int, hidden: int, suffix: str
) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes of a whole layer of the sizes that layer 0 tells; 0 for none."""
    rows, output = blocks * hidden, params["weight_hh" + suffix].shape[1]
    first = params.get("weight_ih" + suffix)
    features = first.shape[-1] if first is not None and first.ndim else 0
    bias = any(name.startswith("bias") for name in params)
    projected = "weight_hr" + suffix in params
    sides = ["", "_reverse"] if any(name.endswith("_reverse") for name in params) else [""]
    depth = len({name.partition("_l")[2].removesuffix("_reverse") for name in params})
    shapes: dict[str, tuple[int, ...]] = {}
    for k in range(depth):
        for side in sides:
            place = f"_l{k}{side}" if suffix else ""
            shapes["weight_ih" + place] = (rows, features if k == 0 else len(sides) * output)
            shapes["weight_hh" + place] = (rows, output)
            shapes |= {f"bias_{part}{place}": (rows,) for part in ("ih", "hh") if bias}
            shapes |= {"weight_hr" + place: (output, hidden)} if projected else {}
    return shapes


def _check_shapes(layer: Layer, expected: Mapping[str, tuple[int, ...]]) -> None:
    for name in {**expected, **layer.params}:
        shape = layer.params[name].shape if name in layer.params else None
        if shape != expected.get(name):
            sizes = ", ".join(str(n or "input_size") for n in expected.get(name, ()))
            raise DialectError(
                f"not what a whole {layer.kind} has",
                tensor=layer.full_name(name),
                expected=f"({sizes}{',' * (',' not in sizes)})"
                if sizes
                else "no such parameter beside the others",
                found=shape or "nothing",
                hint=as_parameters(layer.path),
            )


def _with_what_is_said(layer: RecurrentLayer, evidence: Evidence) -> RecurrentLayer:
    """Take over hyper-parameters from the file and from ``--kind``."""
    hint, known = evidence.hint, evidence.class_name
    notes: tuple[str, ...] = ()
    if known and known not in (*RECURRENT, layer.kind):
        notes = (f"class {known} is taken to order its gates as torch.nn.{layer.base} does",)
    if hint is not None and hint.kind != layer.kind:
        raise DialectError(hint.denied, tensor=layer.path, expected=layer.kind)
    attributes = evidence.said
    return replace(layer, attributes=attributes, notes=notes) if attributes or notes else layer
