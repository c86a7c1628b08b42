"""The network of a torch.export program, from the JSON of its graph.

Source of the format: torch/_export/serde/schema.py. A program calls aten operators: one for each
recurrent layer, with all its settings. ``program`` holds what stands in it by name; ``operators``
has a rule for each operator.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ckptconv.dialects.torch.network import writes
from ckptconv.dialects.torch.network.call import Operator
from ckptconv.dialects.torch.network.operators import RULES
from ckptconv.dialects.torch.network.program import Program
from ckptconv.errors import DialectError, LossyError
from ckptconv.graph.graph import Layer
from ckptconv.graph.network import Network

_MAX_NODES = 20_000
_GIVEN = {"user_output", "user_input_mutation"}
"""What a program may give: of a changed input only who calls it knows."""


def read(
    source: Mapping[str, Any],
    layers: Mapping[str, Layer],
    tied: Sequence[Sequence[str]] = (),
) -> Network:
    """Return the network of an exported program.

    Args:
        source: the parsed ``graph_module``.
        layers: by path, those that hold weights.
        tied: groups of names of one tensor, of which the program knows one.

    Raises:
        DialectError: a damaged description, or weights that do not fit it.
        LossyError: an operator that no rule covers, by its name.
    """
    try:
        program = Program(source, layers, tied)
        if len(source["graph"]["nodes"]) > _MAX_NODES:
            raise DialectError("a network of more operations than can be written")
        for node in source["graph"]["nodes"]:
            _apply(program, Operator(program, node))
        given = _outputs(source["signature"]["output_specs"])
        outputs = tuple(program.value(name).name for name in given if name is not None)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise DialectError(f"a damaged description of the network: {error}"[:300]) from None
    notes = [f"Output {i} is None, and left out." for i, name in enumerate(given) if name is None]
    return Network(tuple(program.nodes), tuple(program.inputs), outputs, notes=tuple(notes))


def _apply(program: Program, operator: Operator) -> None:
    rule = RULES.get(operator.name)
    if rule is not None and operator.outputs:
        writes.require_own(program, operator)
        rule(operator)
        operator.require_asked()
        writes.note(program, operator)
    elif operator.outputs:  # others compute sizes, or check them
        hint = "padding and masks" if "pack" in operator.name else "another operator"
        raise LossyError(
            f"the operator {operator.called} cannot be written as a network",
            tensor=operator.place or None,
            hint=f"{hint} in the model before torch.export",
        )


def _outputs(specs: Sequence[Mapping[str, Any]]) -> list[str | None]:
    """Return the names of what a program gives, None for None.

    Raises:
        LossyError: something that is no tensor, or a change of a buffer or an input.
    """
    if any(spec.keys() - _GIVEN for spec in specs):
        raise LossyError("a program that changes its buffers", hint=writes.KEPT)
    kept = [spec["user_output"]["arg"] for spec in specs if "user_output" in spec]
    if not all(arg.keys() & {"as_tensor", "as_none"} for arg in kept):
        raise LossyError("a program whose outputs are not tensors alone")
    return [str(arg["as_tensor"]["name"]) if "as_tensor" in arg else None for arg in kept]
