"""A written network as a module: the only place where one is run, because the user asked to."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import NamedTuple

from ckptconv.errors import CkptconvError
from ckptconv.options import StrPath

_COUNT = itertools.count()


class Program(NamedTuple):
    """The text of a network, which nothing was done with."""

    path: str
    text: bytes


def read(path: StrPath) -> Program:
    """Return the text of a network.

    Raises:
        CkptconvError: it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return Program(os.fsdecode(path), file.read())
    except OSError as error:
        raise CkptconvError(f"cannot be read: {error.strerror}", file=path) from None


@contextmanager
def imported(program: Program) -> Iterator[ModuleType]:
    """Run a module's text; under a name of its own, by which MindSpore asks for its source.

    Nothing is taken from, or left in, a cache of compiled modules.
    """
    module = ModuleType(f"ckptconv_network_{next(_COUNT)}")
    module.__file__ = program.path
    sys.modules[module.__name__] = module
    try:
        exec(compile(program.text, program.path, "exec"), vars(module))
        yield module
    finally:
        del sys.modules[module.__name__]
