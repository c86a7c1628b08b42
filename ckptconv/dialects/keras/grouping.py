"""What a Keras file's names are grouped into: the weights of one layer, cell or half of a layer.

``legacy_names`` and ``weights_h5_names`` do it for the two layouts; which object of the
configuration a group belongs to, ``config_tree`` tells.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ckptconv.dialects.keras.config_tree import Part, Scope
from ckptconv.dialects.keras.model_config import Entry
from ckptconv.dialects.recurrent import as_parameters
from ckptconv.errors import DialectError
from ckptconv.tensors.tensor import Tensor

ATTENTION: Mapping[str, str] = {
    # MultiHeadAttention's attributes, which name groups → its layers, which name scopes
    **(projections := {
        "query_dense": "query",
        "key_dense": "key",
        "value_dense": "value",
        "output_dense": "attention_output",
    }),
    **{f"_{attribute}": layer for attribute, layer in projections.items()},  # tf_keras
}  # fmt: skip
HALVES = ("forward_layer", "backward_layer")
"""What a Bidirectional calls its layers."""
PROJECTIONS = frozenset(ATTENTION.values())


@dataclass
class Unit:
    """The weights of one layer, cell, or half of a Bidirectional.

    Attributes:
        path: dotted; of the Bidirectional for its halves.
        leaves: Keras's name of the weight (or its number, in ``.weights.h5``) → values.
        first: the name of the first weight in the file, for errors.
        word: what the file calls its class, in snake case without counter, or ``""``.
        half: 0 forward, 1 backward, None where it is not half of a Bidirectional.
        in_cell: the group says that a recurrent layer holds it as its cell.
        stacked: it is one of several cells that a recurrent layer holds.
        named_by_class: ``word`` is the class of a layer, and no attribute that holds one.
        part: the object of the configuration that it is, where the file has one.
        owner: the user's own layer that it is an attribute of, whose class tells nothing of it.
    """

    path: str
    first: str
    leaves: dict[str, Tensor] = field(default_factory=dict)
    word: str = ""
    half: int | None = None
    in_cell: bool = False
    keras1: bool = False
    stacked: bool = False
    named_by_class: bool = False
    part: Part | None = None
    owner: Entry | None = None

    @property
    def entry(self) -> Entry | None:
        """The class and settings of the object, where the file has them."""
        return self.part.entry if self.part else None

    def settle(self, part: Part, below: Scope) -> None:
        """Take over what the configuration says.

        Args:
            below: the names below the object: of its cell, or of what a user's layer holds.
        """
        if below and not part.entry.is_keras:
            self.owner, self.half = part.entry, None
            self.path = dotted((*part.path, *below))
            return
        self.part, self.half, self.stacked = part, part.half, part.is_stacked
        self.path = dotted(part.path)
        self.in_cell = any(part.wrapper(name) for name in ("RNN", "StackedRNNCells"))


class Group(list[Unit]):
    """The units of one path: one, the halves of a Bidirectional, or the parts of an attention."""

    @property
    def path(self) -> str:
        return self[0].path

    @property
    def part(self) -> Part | None:
        return self[0].part

    @property
    def entry(self) -> Entry | None:
        return self[0].entry


def incomplete(group: Group) -> DialectError:
    """Return the error of units that are not the two halves of a Bidirectional."""
    return DialectError(
        "an incomplete Bidirectional" if len(group) == 1 else "the weights of several cells",
        tensor=group.path,
        expected="a forward and a backward layer, or one layer",
        found=", ".join(unit.first for unit in group),
        hint=as_parameters(group.path),
    )


def dotted(path: Scope) -> str:
    """Return names as a module path, without the names of recurrent layers' own cells."""
    return ".".join(path).replace("/", ".")
