"""A pickle interpreter that runs nothing (protocols 0 to 5; the opcodes are pickletools's).

A GLOBAL becomes a ``Name``, which is two strings. Only the functions of a local table are ever
called; any other call is written down as an ``Instance``. The machine is iterative, so nesting
costs no stack, and every opcode is charged what it may allocate, so that a small file cannot fill
the memory.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any

from ckptconv.codecs.pickle import opcodes
from ckptconv.codecs.pickle.objects import (
    CALLS,
    COPIES,
    Call,
    Dict,
    Instance,
    Name,
    is_inert,
    size_of,
)
from ckptconv.codecs.pickle.stack import Stack
from ckptconv.errors import ContainerError
from ckptconv.io.reader import Source

MAX_PICKLE = 64 << 20
"""Bytes of one pickle; tensors stand outside."""
_MEMORY = 200 << 20
"""What a pickle may take: enough for a vocabulary of 500,000 words beside the weights."""
_PYTHON2 = {"__builtin__": "builtins", "copy_reg": "copyreg"}


class _Stop(Exception):  # noqa: N818 - an end, not an error
    """The pickle's last opcode was reached."""


class PickleMachine(Stack):
    """One run over ``data`` from ``position``.

    Args:
        path: of the file, for messages.
        calls: ``module.name`` → function, besides ``CALLS``; must not trust its arguments.
        persistent: what a persistent id stands for.

    Attributes:
        position: after ``run``, the byte after the pickle.
    """

    def __init__(
        self,
        data: bytes,
        path: str,
        *,
        calls: Mapping[str, Call] | None = None,
        persistent: Callable[[Any], Any] | None = None,
        position: int = 0,
    ) -> None:
        super().__init__(_MEMORY - len(data))
        self.position = position
        self._data, self._path = data, path
        self._calls, self._persistent = {**CALLS, **(calls or {})}, persistent
        self._names: dict[tuple[str, str], Name] = {}

    def run(self) -> Any:
        """Return the object that the pickle describes.

        Raises:
            ContainerError: damaged, truncated, or it would take too much memory.
        """
        try:
            return self._run()
        except KeyError as error:
            reason = f"damaged pickle: nothing at {error}"
        except (IndexError, struct.error):
            reason = "damaged pickle: it ends too early, or takes what is not there"
        except (ValueError, TypeError, AttributeError) as error:
            reason = f"damaged pickle: {error}"
        except (RecursionError, MemoryError, OverflowError):
            reason = "a pickle that takes too much memory"
        raise ContainerError(reason, file=self._path, found=f"byte {self.position}")

    def _run(self) -> Any:
        data, position, spent, table = self._data, self.position, 0, _TABLE
        try:
            while True:
                action, price, size, argument = table[data[position]]
                position += 1
                spent += price
                if spent > self._memory:
                    raise MemoryError
                if argument is None:
                    action(self)
                elif size == 1:
                    action(self, data[position])
                    position += 1
                elif size:
                    action(self, argument(data, position)[0])
                    position += size
                else:
                    value, position = argument(data, position)
                    action(self, value)
        except _Stop:
            return self._stack.pop()
        finally:
            self.position = position

    def _stop(self) -> None:
        raise _Stop

    def _global(self, text: tuple[str, str]) -> None:
        name = self._names.get(text)
        if name is None:
            module, attribute = text
            self._memory -= 512
            name = self._names[text] = Name(_PYTHON2.get(module, module), attribute)
        self._stack.append(name)

    def _stack_global(self) -> None:
        attribute, module = self._stack.pop(), self._stack.pop()
        if type(attribute) is not str or type(module) is not str:
            raise TypeError("a global that is not named by text")
        self._global((module, attribute))

    def _reduce(self) -> None:
        args = self._stack.pop()
        self._stack[-1] = self._call(self._stack[-1], args)

    def _newobj_ex(self) -> None:
        keywords, args = self._stack.pop(), self._stack.pop()
        if keywords and type(args) is tuple:
            self._memory -= 8 * len(args)
            args = (*args, keywords)
        self._stack[-1] = self._call(self._stack[-1], args)

    def _inst(self, text: tuple[str, str]) -> None:
        args = tuple(self._popped())
        self._global(text)
        self._stack[-1] = Instance(self._stack[-1], args)

    def _obj(self) -> None:
        cls, *args = self._popped()
        self._stack.append(Instance(cls, tuple(args)))

    def _call(self, cls: object, args: object) -> object:
        if type(args) is not tuple:
            raise TypeError("arguments that are not a tuple")
        known = self._calls.get(cls.full) if isinstance(cls, Name) else None
        if known is None:
            return Instance(cls, args)
        self._memory -= 8 * len(args)
        made = known(*args)
        if type(made) in COPIES and made:
            self._memory -= size_of(made)
        return made

    def _build(self) -> None:
        state, target = self._stack.pop(), self._stack[-1]
        if isinstance(target, (Instance, Dict)):
            target.state = state
        elif not is_inert(target):
            raise TypeError(f"a state for a {type(target).__name__}")

    def _persid(self, value: object) -> None:
        if self._persistent is None:
            raise ValueError("a persistent id")
        self._stack.append(self._persistent(value))

    def _binpersid(self) -> None:
        value = self._stack.pop()
        self._persid(value)

    def _pass(self, _: object = None) -> None:
        """Frames and protocol numbers change nothing."""

    def _unknown(self) -> None:
        raise ValueError("an unknown opcode")


_TABLE = [opcodes.resolve(PickleMachine, code) for code in range(256)]


def unpickle(source: Source, offset: int, **options: Any) -> tuple[Any, int]:
    """Return the object pickled at ``offset`` of a file, and the offset after the pickle.

    How long a pickle is only reading it tells, so ever more bytes are tried.

    Args:
        options: as ``PickleMachine`` takes them.

    Raises:
        ContainerError: as ``PickleMachine.run``.
    """
    most, size = min(source.size - offset, MAX_PICKLE), 4 << 10
    while True:
        size = min(size, most)
        machine = PickleMachine(source.read(offset, size), source.path, **options)
        try:
            return machine.run(), offset + machine.position
        except ContainerError:
            if size == most:
                raise
        size <<= 8
