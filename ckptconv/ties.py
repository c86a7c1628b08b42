"""Tied weights: names of one tensor, such as an embedding that is the output layer too."""

from __future__ import annotations

from collections.abc import Mapping

from ckptconv.tensors.tensor import Tensor

SHARING = ("torch-zip",)
"""Containers in which two names can be one tensor."""


def ties(tensors: Mapping[str, Tensor]) -> list[list[str]]:
    """Return the groups of names whose bytes, shape and dtype are the same.

    The same storage is not enough: flattened weights of one LSTM lie in one, side by side.
    """
    groups: dict[object, list[str]] = {}
    for name, tensor in tensors.items():
        spans = tensor.extents()
        if spans and tensor.nbytes:
            place = tuple((id(span.file), span.offset, span.length) for span in spans)
            groups.setdefault((place, tensor.shape, tensor.dtype), []).append(name)
    return [names for names in groups.values() if len(names) > 1]


def tie_notes(
    source: Mapping[str, Tensor], target: Mapping[str, Tensor], container: str
) -> list[str]:
    """Say what becomes of the ties of a source in a target container."""
    shared = container in SHARING and bool(ties(target))
    rule = (
        "one tensor in the source, and one storage here"
        if shared
        else "one tensor in the source; here each has values of its own: tie them in the network"
    )
    return [f"{', '.join(names)}: {rule}" for names in ties(source)]
