"""The calls that build a module's layers, from the graph's sizes and the node's settings."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ckptconv.codegen.constructor import constructor
from ckptconv.codegen.emit import spelling
from ckptconv.codegen.emit.functions import FUNCTIONS
from ckptconv.codegen.emit.text import number
from ckptconv.errors import CkptconvError, LossyError
from ckptconv.graph.forms import Call, Form, Forms
from ckptconv.graph.graph import Layer, RecurrentLayer
from ckptconv.graph.kinds import PARAMETER
from ckptconv.graph.network import Network, Node

LONGEST_UNROLLED = 64
"""Steps up to which MindSpore's nn.GRU and nn.RNN, which unroll, are quicker to compile."""
_ORDINARY = {"LSTM": ("tanh",), "GRU": ("tanh",), "RNN": ("tanh", "relu")}
_WITH_NUMBERS = {"leaky_relu": "nn.LeakyReLU", "clip": "nn.Hardtanh"}
"""Activations of a cell that have numbers of their own, in both frameworks."""

_CELLS: Mapping[str, Forms] = {
    "mindspore": {"RMSNorm": Form(Call("RMSNorm", "shape", "epsilon"))},
}
"""Kinds that a target has no layer of, and a cell of this project's in their place."""

WEIGHTLESS: Mapping[str, tuple[str, str]] = {
    # op: (torch, MindSpore); an empty text: an expression instead
    "dropout": ("nn.Dropout({rate})", "nn.Dropout(p={rate})"),
    "max_pool": ("", "nn.MaxPool{rank}d({size}, stride={stride})"),
    "avg_pool": ("", "nn.AvgPool{rank}d({size}, stride={stride})"),
    "max_pool_same": ("", 'nn.MaxPool{rank}d({size}, stride={stride}, pad_mode="same")'),
    "avg_pool_same": ("", 'nn.AvgPool{rank}d({size}, stride={stride}, pad_mode="same")'),
}
"""Layers without parameters that are built all the same."""


def weightless(node: Node, target: str) -> str:
    """Return the call that builds a node's layer without parameters, or ``""``."""
    text = WEIGHTLESS.get(node.op, ("", ""))[target != "torch"]
    arguments = {
        key: value[0] if isinstance(value, tuple) and len(value) == 1 else value
        for key, value in node.arguments.items()
    }
    return text.format(**{key: number(value) for key, value in arguments.items()})


@dataclass(frozen=True)
class Columns:
    """The columns of the table of layers: the target's, and the source's for its defaults."""

    target: Forms
    source: Forms


def module(node: Node, layer: Layer, network: Network, target: str, columns: Columns) -> str:
    """Return the call that builds the layer of a node.

    Raises:
        LossyError: the target has no such layer, and nothing here stands for it.
    """
    if node.op == "recurrent" and not is_native(node, network, target):
        return _cell(node, layer, target)
    if node.op == "parameter":
        if layer.kind != PARAMETER:
            problem = f"the weights of a {layer.kind} are used by themselves"
            raise LossyError(problem, tensor=layer.path)
        return _parameter(number(layer.params[""].shape), layer.params[""].dtype.name, target)
    settings = {**layer.attributes, **_settings(node)}
    kind = layer.kind if node.op == "recurrent" else str(settings.pop("kind", layer.kind))
    own = _CELLS.get(target, {})
    column = own if kind in own else columns.target
    text = constructor(replace(layer, kind=kind, attributes=settings), column, columns.source)
    if not text or text.startswith("[") or "?" in text:
        raise LossyError(
            f"{layer.kind} cannot be written as a network for {target}", tensor=layer.path
        )
    return text.replace("'", '"')


def _parameter(shape: str, dtype: str, target: str) -> str:
    """Return the call that builds a parameter; of whole numbers torch's takes no gradient."""
    if target != "torch":
        return f"Parameter(ops.zeros({shape}, {spelling.dtype({'dtype': dtype})}))"
    said = "" if dtype == "float32" else f", dtype=torch.{dtype}"
    kept = "" if "float" in dtype else ", requires_grad=False"
    return f"nn.Parameter(torch.zeros({shape}{said}){kept})"


def weight(node: Node, layer: Layer, columns: Columns) -> str:
    """Return what the target's layer calls a parameter that is used beside it."""
    param, form = str(node.arguments["param"]), columns.target[layer.kind]
    slot = form.slots.get(param) if form else None
    return (slot and slot.name) or param


def _settings(node: Node) -> dict[str, Any]:
    if node.op == "weight":  # which says what is used of the layer, not how it is built
        return {}
    a = node.arguments
    if node.op != "recurrent":
        return dict(a)
    found = {"batch_first": a.get("batch_first", True), "dropout": a.get("dropout", 0.0)}
    return found | ({"nonlinearity": a["activation"]} if _kind(node) == "RNN" else {})


def is_native(node: Node, network: Network, target: str) -> bool:
    """Tell whether the target's own layer computes what a recurrent node does."""
    a = node.arguments
    if a.get("masked") or a["activation"] not in _ORDINARY[_kind(node)]:
        return False
    if a.get("recurrent_activation", "sigmoid") != "sigmoid" or not a.get("reset_after", True):
        return False
    whole = a.get("num_layers", 1) > 1 or not a.get("batch_first", True)
    if target == "torch" or _kind(node) == "LSTM" or whole:
        return True
    lengths = [value.shape[1] or 0 for value in network.inputs if value.rank > 1]
    lengths += [int(m.arguments["n"]) for m in network if m.op == "repeat_vector"]
    return not network.free_length and max(lengths, default=0) <= LONGEST_UNROLLED


def _kind(node: Node) -> str:
    return str(node.arguments["kind"])


def _cell(node: Node, layer: Layer, target: str) -> str:
    if not isinstance(layer, RecurrentLayer):
        raise TypeError(layer.kind)
    cell, a = layer.cells[0, 0], node.arguments
    if layer.num_layers > 1 or cell.w_hr is not None:
        raise CkptconvError(f"several layers of {layer.kind} in one", tensor=layer.path)
    arguments = [number(cell.w_ih.shape[1]), number(cell.w_hh.shape[1])]
    if cell.b_ih is None:
        arguments.append("bias=False" if target == "torch" else "has_bias=False")
    for key in ("bidirectional", "zero_masked"):
        arguments += [f"{key}=True"] if a.get(key) else []
    arguments += ["reset_after=False"] if not a.get("reset_after", True) else []
    for key, usual in (("activation", "tanh"), ("recurrent_activation", "sigmoid")):
        if a.get(key, usual) != usual:
            arguments.append(f"{key}={_function(a[key], layer, target)}")
    return f"{_kind(node)}({', '.join(arguments)})"


def _function(name: str, layer: Layer, target: str) -> str:
    """Return an activation as a cell takes it: a function, or a layer with numbers of its own."""
    op, _, numbers = name.partition("(")
    if numbers and op not in _WITH_NUMBERS:
        raise LossyError(f"{name} in a {layer.kind} cannot be written", tensor=layer.path)
    return f"{_WITH_NUMBERS[op]}({numbers}" if numbers else FUNCTIONS[op][target != "torch"]


def is_call(text: str) -> bool:
    """Tell whether an expression is one call, outermost."""
    return isinstance(ast.parse(text, mode="eval").body, ast.Call)


def split(call: str) -> tuple[str, list[str]]:
    """Return ("nn.Linear(", ["3", "4"]) of a call."""
    tree = ast.parse(call, mode="eval").body
    if not isinstance(tree, ast.Call):
        raise ValueError(call)
    items = [ast.get_source_segment(call, item) or "" for item in tree.args]
    items += [f"{item.arg}={ast.get_source_segment(call, item.value)}" for item in tree.keywords]
    return f"{ast.get_source_segment(call, tree.func)}(", items
