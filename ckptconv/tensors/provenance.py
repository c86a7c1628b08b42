"""Which tensor of the source is that: names of what a tensor was computed from."""

from __future__ import annotations

from collections.abc import Mapping

from ckptconv.tensors.tensor import Tensor, Trace, trace


class Provenance:
    """The names of a file's tensors, found again in everything computed from them.

    Tied names are one tensor object or several of the same bytes; each object has its own names.
    """

    def __init__(self, *files: Mapping[str, Tensor]) -> None:
        self._names: dict[int, list[str]] = {}
        self._turned: dict[int, str] = {}
        named = [pair for tensors in files for pair in tensors.items()]
        for name, tensor in named:
            self._names.setdefault(id(tensor), []).append(name)
        for name, tensor in named:
            if len(tensor.inputs) == 1 and id(tensor.inputs[0]) not in self._names:
                self._names[id(tensor.inputs[0])] = [name]
                self._turned[id(tensor.inputs[0])] = tensor.label

    def holds(self, tensor: Tensor) -> bool:
        """Tell whether a tensor stands in the file as it is, and is not computed from others."""
        return id(tensor) in self._names

    def trace(self, tensor: Tensor) -> Trace:
        """Return the source tensors that one is computed from, and what was done to them.

        What a source tensor is a layout of stands for that tensor, where the layout is undone.
        """
        found = trace(tensor, self._names)
        if not self._turned:
            return found
        undone = [self._turned[id(leaf)] for leaf in found.origins if id(leaf) in self._turned]
        return Trace(found.origins, [*dict.fromkeys([*undone, *found.operations])])

    def own(self, tensor: Tensor) -> list[str]:
        """Return the names of this very tensor; none for what the source does not hold."""
        return self._names.get(id(tensor), [])

    def names(self, tensor: Tensor) -> list[str]:
        """Return the names of all source tensors that one is computed from, in order."""
        return [name for origin in self.trace(tensor).origins for name in self.own(origin)]
