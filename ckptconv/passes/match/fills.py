"""``--fill``: what only a target network has."""

from __future__ import annotations

from collections.abc import Mapping

from ckptconv.errors import DialectError, UsageError
from ckptconv.spelling import option
from ckptconv.tensors.declared import Declared
from ckptconv.tensors.tensor import FilledTensor, Tensor

_FILLS = ("zeros", "ones", "target")


def filled(wanted: Mapping[str, Tensor], fill: Mapping[str, str]) -> dict[str, Tensor]:
    """Return parameters of a target that the user says the values of.

    Args:
        fill: module or parameter → ``zeros``, ``ones`` or ``target``, its own values.

    Raises:
        DialectError: no such module or parameter, or one without values of its own.
        UsageError: another word.
    """
    found: dict[str, Tensor] = {}
    for path, how in fill.items():
        names = [name for name in wanted if name == path or name.startswith(f"{path}.")]
        if not names:
            problem = f"{option('fill')}: the target has no such module or parameter"
            raise DialectError(problem, tensor=path)
        if how not in _FILLS:
            raise UsageError(option("fill", {path: how}), expected=" or ".join(_FILLS))
        for name in names:
            tensor = wanted[name]
            if how == "target" and isinstance(tensor, Declared):
                expected = "a checkpoint of the target network, which has values"
                raise DialectError(option("fill", {path: how}), tensor=name, expected=expected)
            value = 1.0 if how == "ones" else 0.0
            constant = FilledTensor(tensor.shape, tensor.dtype, value)
            found[name] = tensor if how == "target" else constant
    return found
