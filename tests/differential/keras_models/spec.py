"""A model as drawn: names of classes and their options, nothing built."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

BATCH = 2


@dataclass(frozen=True)
class Spec:
    """An object to build: Keras's class, ``own>Class``, ``own>function``, or a ``model`` of ours.

    Attributes:
        options: the constructor's arguments; Specs among them are built first.
        shape: of a call's input, where this is a whole model.
    """

    name: str
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        given = ", ".join(f"{k}={_text(v)}" for k, v in self.options.items())
        return f"{self.name}({given})"


def _text(value: Any) -> str:
    if isinstance(value, list) and any(isinstance(v, Spec) for v in value):
        return "[" + ", ".join(map(_text, value)) + "]"
    return str(value) if isinstance(value, Spec) else repr(value)


@dataclass(frozen=True)
class Plan:
    """A model and how it goes to the target.

    Attributes:
        model: a ``Sequential``, ``Functional`` or ``Subclassed`` Spec.
        shape: of the input, without the batch.
        tokens: the input is whole numbers.
        saving: a key of ``save.WAYS``.
        target: ``torch``, ``mindspore`` or ``mint``.
        quantize: ``int8``, ``float8`` or ``""``.
        fuse: fuse two recurrent layers that follow one another in the report.
    """

    model: Spec
    shape: tuple[int, ...]
    tokens: bool
    saving: str
    target: str
    quantize: str = ""
    lora: bool = False
    fuse: bool = False

    def __str__(self) -> str:
        asked = [self.saving, f"to {self.target}", self.quantize, "lora" * self.lora]
        asked += ["fuse"] if self.fuse else []
        return f"{self.model} on {self.shape}: {', '.join(filter(None, asked))}"
