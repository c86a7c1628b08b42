"""aten operators that use the weights of a layer: the layer is called, with its settings.

A layer is called only where the operator takes all of its parameters, each in its place: the
parameters may as well go into a function that the layer does not compute.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ckptconv.dialects.narrowing import SAID
from ckptconv.dialects.torch.network.call import Operator, Rule, number
from ckptconv.errors import LossyError
from ckptconv.graph.graph import CELL_PARAMS, Layer
from ckptconv.graph.kinds import PARAMETER
from ckptconv.graph.network import Value
from ckptconv.spelling import option

_RECURRENT = {"lstm": ("LSTM", "tanh"), "gru": ("GRU", "tanh"), "rnn_tanh": ("RNN", "tanh"),
              "rnn_relu": ("RNN", "relu")}  # fmt: skip
_CELLS = {"lstm_cell": "LSTMCell", "gru_cell": "GRUCell", "rnn_tanh_cell": "RNNCell",
          "rnn_relu_cell": "RNNCell"}  # fmt: skip
_AFFINE = ("weight", "bias")
_RANKS = (1, 2, 3)
_STATISTICS = (*_AFFINE, "running_mean", "running_var")
_BATCH_NORMS = tuple(f"BatchNorm{n}d" for n in _RANKS)
_CALLED: Mapping[str, tuple[tuple[str, ...], tuple[str, ...], Mapping[str, Any]]] = {
    # operator: kinds of layer, their parameters, settings with the operator's defaults
    "batch_norm": (_BATCH_NORMS, _STATISTICS, {"eps": 1e-5}),
    "instance_norm": (_BATCH_NORMS, _STATISTICS, {"eps": 1e-5}),
    "layer_norm": (("LayerNorm",), _AFFINE, {"eps": 1e-5}),
    "group_norm": (("GroupNorm",), _AFFINE, {"num_groups": None, "eps": 1e-5}),
    "rms_norm": (("RMSNorm",), ("weight",), {"eps": None}),
    "prelu": (("PReLU",), ("weight",), {}),
}
_CONVOLUTIONS: Mapping[str, tuple[tuple[str, ...], Mapping[str, int]]] = {
    # operator: kinds of layer, settings with the operator's defaults
    "conv": (("Conv", "DepthwiseConv"), {"stride": 1, "padding": 0, "dilation": 1}),
    "conv_transpose": (
        ("ConvTranspose",),
        {"stride": 1, "padding": 0, "output_padding": 0, "dilation": 1},
    ),
}
_PARTS = ".parametrizations."
_COUNTER = "num_batches_tracked"


def _module(
    o: Operator, x: Value, kinds: tuple[str, ...], names: Mapping[str, str], **settings: Any
) -> None:
    """Call the layer whose parameters these are.

    Args:
        kinds: what the layer may be.
        names: parameter of the layer → the graph's name of what the operator takes as it.

    Raises:
        LossyError: they are not those of one such layer, all of them.
    """
    path, kind = _owner(o, kinds, names)
    if kind != o.program.layers[path].kind:
        settings["kind"] = kind
    o.give("module", x, layer=path, **settings)


def _owner(o: Operator, kinds: tuple[str, ...], names: Mapping[str, str]) -> tuple[str, str]:
    """Return the path and the kind of the layer whose parameters these are; see ``_module``."""
    paths = _paths(o, kinds, names)
    owner = next(iter(paths.values()), "").rpartition(".")[0]
    layer = o.program.layers.get(owner)
    if not paths or layer is None:
        found = ", ".join(filter(None, paths.values())) or None
        problem = f"{o.name} without the weights of a layer"
        raise LossyError(problem, tensor=o.place or None, found=found)
    fitting = [kind for kind in (layer.kind, *layer.candidates) if kind in kinds]
    if not fitting:
        raise LossyError(
            f"{o.name} with parameters of {owner or 'the root'}, a {layer.kind}",
            tensor=o.place or None,
            expected=" or ".join(kinds),
            hint=None if layer.evidence in SAID else option("kinds", {owner: kinds[0]}),
        )
    own = _own(layer)
    if own != paths:
        raise LossyError(
            f"{o.name} takes other parameters than all of one layer's, each in its place",
            tensor=o.place or None,
            expected=", ".join(own.values()),
            found=", ".join(paths.values()),
        )
    return owner, fitting[0]


def _own(layer: Layer) -> dict[str, str]:
    return {param: layer.full_name(param) for param in layer.params if param != _COUNTER}


def _paths(o: Operator, kinds: tuple[str, ...], names: Mapping[str, str]) -> dict[str, str]:
    """Return parameter → path of a weight: of those that are one tensor, as a layer has them."""
    program = o.program
    paths = {param: program.weights.get(name, "") for param, name in names.items()}
    alike = {param: program.tied.get(path, (path,)) for param, path in paths.items()}
    first = next(iter(alike.values()), ())
    owners = dict.fromkeys((o.place, *(path.rpartition(".")[0] for path in first)))
    for owner in owners if any(len(group) > 1 for group in alike.values()) else ():
        layer = program.layers.get(owner)
        own = _own(layer) if layer and {layer.kind, *layer.candidates} & {*kinds} else {}
        if own.keys() == paths.keys() and all(own[param] in alike[param] for param in own):
            return own
    return paths


def _given(o: Operator, params: tuple[str, ...]) -> dict[str, str]:
    return {param: o.tensor_name(param) for param in params if o.has_tensor(param)}


def _linear(o: Operator) -> None:
    """A Linear; or a function of weights that stand alone, or of those of another layer."""
    names = _given(o, _AFFINE)
    path = o.program.weights.get(names.get("weight", ""))
    bare = o.program.layers.get(path) if path is not None else None
    if path is None or (bare is not None and bare.kind == PARAMETER) or _is_apart(o, names):
        bias = [o.tensor("bias")] if "bias" in names else []
        o.give("dense", o.tensor("input"), o.tensor("weight"), *bias)
    else:
        _module(o, o.tensor("input"), ("Linear",), names)


def _is_apart(o: Operator, names: Mapping[str, str]) -> bool:
    """Tell whether a function takes the weight of a layer that it is not itself."""
    paths = _paths(o, ("Linear",), names)
    owner = paths["weight"].rpartition(".")[0]
    layer = o.program.layers.get(owner)
    linear = layer is not None and layer.kind == "Linear"
    if layer is None or _own(layer) != paths:
        return linear or o.program.is_table(names["weight"])
    is_called = linear and owner == o.place and paths["weight"] in o.program.tied
    return o.program.is_table(names["weight"]) and not is_called


def _embedding(o: Operator) -> None:
    _module(o, o.tensor("indices"), ("Embedding",), _given(o, ("weight",)))


def _called(o: Operator) -> None:
    """A normalisation, or PReLU."""
    if o.get("training", False):
        raise o.refuse("statistics of the batch: export the model after eval()")
    o.rest_is_told()  # the shape that is normalised is that of the weight
    kinds, params, usual = _CALLED[o.name]
    settings = {key: o.get(key, default) for key, default in usual.items()}
    if o.name == "layer_norm" and len(shape := o.get("normalized_shape")) > 1:
        settings["begin_norm_axis"] = o.tensor("input").rank - len(shape)
    told = {key: value for key, value in settings.items() if value is not None}
    _module(
        o, o.tensor("input" if "input" in o.given else "self"), kinds, _given(o, params), **told
    )


def _conv(o: Operator) -> None:
    rank = int(o.name[-2])
    x = _with_batch(o, rank + 2)
    names, rows = _CONVOLUTIONS[o.name[:-2]]
    kinds = tuple(f"{name}{rank}d" for name in names)
    settings = {
        key: word if isinstance(word := o.get(key), str) else o.sizes(key, rank, [usual])
        for key, usual in rows.items()
    }
    _module(o, x, kinds, _given(o, _AFFINE), **settings, groups=o.get("groups", 1))


def _with_batch(o: Operator, rank: int) -> Value:
    x = o.tensor("input")
    if x.rank != rank:
        raise o.refuse("an input without batch")
    return x


def _recurrent(o: Operator) -> None:
    kind, activation = _RECURRENT[o.name]
    if o.overload != "input":
        raise o.refuse("packed sequences: pad them, and give the lengths to no layer")
    x = _with_batch(o, 3)
    if o.get("train", False) and o.get("dropout"):
        raise o.refuse("dropout in inference: export the model after eval()")
    names = _state_names(o)
    states: list[Value] = []
    if any(name not in o.program.zeros for name in names):
        states = [o.program.value(name) for name in names]
    settings: dict[str, Any] = {"kind": kind, "activation": activation}
    settings |= {"recurrent_activation": "sigmoid"} if kind != "RNN" else {}
    settings |= {key: bool(o.get(key)) for key in ("bidirectional", "batch_first")}
    settings |= {"num_layers": int(o.get("num_layers", 1)), "dropout": number(o, "dropout", 0.0)}
    path, _ = _owner(o, (kind,), _of_levels(o))
    o.give("recurrent", x, *states, layer=path, masked=False, **settings)


def _state_names(o: Operator) -> list[str]:
    """Return the graph's names of the states before the first step."""
    return o.tensor_names("hx") if "as_tensors" in o.given["hx"] else [o.tensor_name("hx")]


def _of_levels(o: Operator) -> dict[str, str]:
    """Return parameter → the graph's name, in the order of torch's flat weights."""
    names, sides = o.tensor_names("params"), ("", "_reverse")[: 1 + bool(o.get("bidirectional"))]
    places = [f"_l{k}{side}" for k in range(o.get("num_layers", 1)) for side in sides]
    each = len(names) // max(len(places), 1)
    leaves = list(CELL_PARAMS.values())
    if not o.get("has_biases", True):
        leaves = [leaf for leaf in leaves if not leaf.startswith("bias")]
    expected = [leaf + place for place in places for leaf in leaves[:each]]
    if len(expected) != len(names):
        raise o.refuse("another number of weights")
    return dict(zip(expected, names, strict=True))


def _cell(o: Operator) -> None:
    states = [o.program.value(name) for name in _state_names(o)]
    said = {"nonlinearity": o.name.split("_")[1]} if o.name.startswith("rnn") else {}
    params = {leaf: key for key, leaf in CELL_PARAMS.items() if o.has_tensor(key)}
    given = {leaf: o.tensor_name(key) for leaf, key in params.items()}
    path, _ = _owner(o, (_CELLS[o.name],), given)
    o.give("cell", o.tensor("input"), *states, layer=path, **said)


def _weight_norm(o: Operator) -> None:
    """Let what is computed of a weight's parts stand for the weight: the layer has it plain."""
    o.rest_is_told()  # the axis is where the lengths have more than one place
    g, v = (o.program.weights.get(o.tensor_name(key), "") for key in ("g", "v"))
    path, _, leaf = v.rpartition(".")
    plain = leaf.removesuffix("_v")
    if (leaf, g) != (f"{plain}_v", f"{path}.{plain}_g"):
        path, _, plain = path.removesuffix(".original1").rpartition(_PARTS)
        if not plain or (v, g) != tuple(f"{path}{_PARTS}{plain}.original{n}" for n in (1, 0)):
            raise o.refuse("parts that are no layer's")
    o.program.weights[o.outputs[0]] = f"{path}.{plain}"


RULES: Mapping[str, Rule] = {
    "linear": _linear,
    "embedding": _embedding,
    "_weight_norm": _weight_norm,
    **dict.fromkeys(_CALLED, _called),
    **{f"{name}{n}d": _conv for name in _CONVOLUTIONS for n in _RANKS},
    **dict.fromkeys(_RECURRENT, _recurrent),
    **dict.fromkeys(_CELLS, _cell),
}
