"""What differs between the targets around the network: imports, signature, load, export."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ckptconv.codegen.emit.modules import is_native
from ckptconv.codegen.emit.text import call, number
from ckptconv.graph.network import Network


@dataclass(frozen=True)
class Target:
    """One target of generated modules.

    Attributes:
        name: a column of the table of operations, and a file of cells.
        words: names that the module's own code uses.
    """

    name: str
    title: str
    base: str
    imports: Callable[[frozenset[str]], list[str]]
    words: Sequence[str]
    method: Sequence[str]
    functions: Callable[[Network, str], list[str]]
    notes: Callable[[Network], list[str]]

    def signature(self, parameters: Sequence[str]) -> list[str]:
        *decorators, head = self.method
        return [*decorators, *call(head, ["self", *parameters], 4, "):")]


def _torch_imports(names: frozenset[str]) -> list[str]:
    loader = ["from safetensors.torch import load_file"] if "load_file" in names else []
    return ["import torch", *loader, "from torch import nn"]


def _mindspore_imports(names: frozenset[str]) -> list[str]:
    used = [name for name in ("Parameter", "Tensor", "nn", "ops") if name in names]
    return ["import mindspore as ms", f"from mindspore import {', '.join(used)}"]


def _torch_functions(_: Network, weights: str) -> list[str]:
    read = 'torch.load(weights, map_location="cpu", weights_only=True)'
    if weights.endswith(".safetensors"):
        read = "load_file(weights)"
    return [
        f'''def load(weights):
    """Return the network with these weights; one missing or one too many is an error."""
    net = Net()
    loaded = {read}
    net.load_state_dict(loaded, strict=True)
    return net.eval()'''
    ]


def _mindspore_functions(network: Network, weights: str) -> list[str]:
    form = ', format="safetensors"' if weights.endswith(".safetensors") else ""
    shapes = [
        f"Tensor(shape=[{', '.join(number(n) for n in value.shape)}], dtype=ms.{value.dtype})"
        for value in network.inputs
    ]
    inputs = call("return [", shapes, 4, "]")
    free = ": any batch" if all(value.shape[:1] == (None,) for value in network.inputs) else ""
    return [
        "\n".join(["def inputs():", f'    """Return what set_inputs takes{free}."""', *inputs]),
        f'''def load(weights):
    """Return the network with these weights; one missing or one too many is an error."""
    net = Net()
    loaded = ms.load_checkpoint(weights{form})
    missing, extra = ms.load_param_into_net(net, loaded, strict_load=True)
    if missing or extra:
        raise ValueError(f"{{weights}}: missing {{missing}}, too many {{extra}}")
    net.set_inputs(*inputs())
    return net.set_train(False)''',
        '''def export(weights, mindir):
    """Write the network with these weights as a MINDIR."""
    ms.export(load(weights), *inputs(), file_name=mindir, file_format="MINDIR")''',
        '''def open_mindir(mindir):
    """Return what a MINDIR computes; without set_inputs it is wrong for other batch sizes."""
    graph = nn.GraphCell(ms.load(mindir))
    graph.set_inputs(*inputs())
    return graph''',
    ]


def _mindspore_notes(network: Network) -> list[str]:
    recurrent = (node for node in network if node.op == "recurrent")
    if all(is_native(node, network, "mindspore") for node in recurrent):
        return []
    return [
        "Layers that are classes of this module run a step at a time: any length compiles, and "
        "a call takes 2 to 13 times as long as nn.LSTM's."
    ]


_ALL = (
    Target(
        name="torch",
        title="torch",
        base="nn.Module",
        imports=_torch_imports,
        words=("torch", "nn"),
        method=("def forward(",),
        functions=_torch_functions,
        notes=lambda _: [],
    ),
    Target(
        name="mindspore",
        title="MindSpore",
        base="nn.Cell",
        imports=_mindspore_imports,
        words=("ms", "nn", "ops", "Tensor", "Parameter"),
        method=("    @ms.jit", "def construct("),
        functions=_mindspore_functions,
        notes=_mindspore_notes,
    ),
)
TARGETS = {target.name: target for target in _ALL}
