"""The stack and memo of the pickle machine, with the opcodes that only move plain data."""

from __future__ import annotations

from typing import Any

from ckptconv.codecs.pickle.objects import Instance, as_key, size_of


class Stack:
    """Values, saved stacks below each mark, and numbered values.

    Args:
        memory: bytes that may still be spent.
    """

    def __init__(self, memory: int) -> None:
        self._memory = memory
        self._stack: list[Any] = []
        self._marks: list[list[Any]] = []
        self._memo: dict[int, Any] = {}

    def _push(self, value: object) -> None:
        self._stack.append(value)

    def _push_text(self, value: str | bytes) -> None:
        self._memory -= size_of(value)
        self._stack.append(value)

    def _mark(self) -> None:
        self._marks.append(self._stack)
        self._stack = []

    def _popped(self) -> list[Any]:
        """Return what stands above the last mark, and remove it."""
        items, self._stack = self._stack, self._marks.pop()
        return items

    def _pop(self) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self._popped()

    def _pop_mark(self) -> None:
        self._popped()

    def _dup(self) -> None:
        self._stack.append(self._stack[-1])

    def _put(self, index: int) -> None:
        self._memo[index] = self._stack[-1]

    def _memoize(self) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _get(self, index: int) -> None:
        self._stack.append(self._memo[index])

    def _tuple(self) -> None:
        items = self._popped()
        self._stack.append(tuple(items))

    def _tuple1(self) -> None:
        self._stack[-1] = (self._stack[-1],)

    def _tuple2(self) -> None:
        self._stack[-2:] = [(self._stack[-2], self._stack[-1])]

    def _tuple3(self) -> None:
        self._stack[-3:] = [(self._stack[-3], self._stack[-2], self._stack[-1])]

    def _none(self) -> None:
        self._stack.append(None)

    def _true(self) -> None:
        self._stack.append(True)

    def _false(self) -> None:
        self._stack.append(False)

    def _empty_tuple(self) -> None:
        self._stack.append(())

    def _empty_list(self) -> None:
        self._stack.append([])

    def _empty_dict(self) -> None:
        self._stack.append({})

    def _list(self) -> None:
        items = self._popped()
        self._stack.append(items)

    def _dict(self) -> None:
        items, target = self._popped(), dict[Any, Any]()
        self._fill(target, items)
        self._stack.append(target)

    def _append(self) -> None:
        value = self._stack.pop()
        self._extend([value])

    def _appends(self) -> None:
        items = self._popped()
        self._extend(items)

    def _extend(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, Instance):
            target = target.listing
        if not isinstance(target, list):
            raise TypeError(f"items for a {type(target).__name__}")
        target.extend(items)

    def _setitem(self) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._fill(self._stack[-1], [key, value])

    def _setitems(self) -> None:
        items = self._popped()
        self._fill(self._stack[-1], items)

    def _fill(self, target: object, items: list[Any]) -> None:
        if isinstance(target, Instance):
            target = target.mapping
        if not isinstance(target, dict) or len(items) % 2:
            raise TypeError(f"pairs for a {type(target).__name__}")
        expected = len(target) + len(items) // 2
        self._memory -= 50 * len(items)
        for i in range(0, len(items), 2):
            key = as_key(items[i])
            if key is not items[i]:
                self._memory -= size_of(key)
            target[key] = items[i + 1]
        if len(target) != expected:
            raise ValueError("a dict key that stands twice")
