"""The frameworks' conventions: names, axes, gate orders, biases.

Each dialect is a package with the functions of ``DialectModule``. No module here opens a file.
Adding a dialect is one package, one row of ``DIALECTS`` and one column, ``FORMS``, of the table of
layers (``ckptconv.graph.kinds``).
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

from ckptconv.errors import DialectError, UsageError, WrongFrameworkError
from ckptconv.spelling import option

if TYPE_CHECKING:
    from ckptconv.checkpoint import Checkpoint
    from ckptconv.graph.forms import Forms
    from ckptconv.graph.graph import Graph
    from ckptconv.graph.lowered import Lowered
    from ckptconv.graph.network import Network
    from ckptconv.options import ReadOptions


class DialectModule(Protocol):
    """What the package of a dialect has; ``FORMS`` is its column of the table of layers."""

    FORMS: Forms

    def lift(self, checkpoint: Checkpoint, options: ReadOptions) -> Graph:
        """Bring names, axes and gates of this dialect into the canonical graph."""

    def lift_with_network(
        self, checkpoint: Checkpoint, options: ReadOptions, stubs: tuple[str, ...] = ()
    ) -> tuple[Graph, Network]:
        """Return the graph, and the network that the file records.

        Args:
            stubs: layers of the network that need not be known.
        """

    def lower(self, graph: Graph, variant: str = "") -> Lowered:
        """Return a graph in this dialect; ``variant`` is that of the output's format."""


class Dialect(NamedTuple):
    """A row of the registry.

    Attributes:
        short: its name in a command (``torch2ms``); ``""`` for a variant of another.
        title: its name in sentences.
        package: below this one.
        suffixes: target file suffix → (format, variant); the longest that fits decides, the first
            is the default.
        projections: whether its LSTM has ``proj_size``.
        ascend: whether it runs on that hardware.
        loads: format → the lines that load a file ``{path}`` of it into a network.
        others: dialects whose names a network of this one may have beside its own, for layers of
            mint's or written by hand.
        unloaded: how dtypes begin that its own formats hold and that it does not load.
        typed: what is to be done where the weights are ``{dtype}``, and not float32 as in layers.
    """

    name: str
    short: str
    title: str
    package: str
    suffixes: Mapping[str, tuple[str, str]]
    projections: bool = False
    ascend: bool = False
    others: tuple[str, ...] = ()
    loads: Mapping[str, tuple[str, ...]] = {}
    unloaded: tuple[str, ...] = ()
    typed: str = ""

    def load(self) -> DialectModule:
        return cast(DialectModule, importlib.import_module(f"{__name__}.{self.package}"))

    @property
    def suffix(self) -> str:
        return next(iter(self.suffixes))

    @property
    def forms(self) -> Forms:
        """The dialect's column of the table of layers."""
        return self.load().FORMS


_LEFT = "left = ms.load_param_into_net(network, ms.load_checkpoint({path}%s), strict_load=True)"
_NOTHING = "assert left == ([], []), left"
"""Strict or not, MindSpore raises for no name."""
_MINDSPORE = Dialect(
    "mindspore",
    "ms",
    "MindSpore",
    "mindspore",
    {".ckpt": ("mindspore-ckpt", ""), ".safetensors": ("safetensors", "ms")},
    ascend=True,
    others=("mint", "torch"),
    loads={
        "mindspore-ckpt": ("import mindspore as ms", _LEFT % "", _NOTHING),
        "safetensors": ("import mindspore as ms", _LEFT % ', format="safetensors"', _NOTHING),
    },
    unloaded=("float8",),
    typed="strict_load refuses them unless parameter.set_dtype(ms.{dtype}) comes first",
)
_LOADS_TORCH = {
    "torch-zip": ("import torch", "network.load_state_dict(torch.load({path}, weights_only=True))"),
    "safetensors": (
        "from safetensors.torch import load_file",
        "network.load_state_dict(load_file({path}))",
    ),
}
DIALECTS: Mapping[str, Dialect] = {
    row.name: row
    for row in (
        Dialect(
            "torch",
            "torch",
            "PyTorch",
            "torch",
            {
                **dict.fromkeys((".pt", ".pth", ".bin"), ("torch-zip", "")),
                ".safetensors": ("safetensors", "pt"),
            },
            projections=True,
            loads=_LOADS_TORCH,
            typed="load_state_dict casts them unless network.to(torch.{dtype}) comes first",
        ),
        Dialect(
            "keras",
            "keras",
            "Keras",
            "keras",
            {
                ".h5": ("hdf5", "legacy"),
                ".weights.h5": ("hdf5", "weights.h5"),
                ".hdf5": ("hdf5", "legacy"),
            },
            loads={"hdf5": ("# network: a keras.Model, built", "network.load_weights({path})")},
            typed="load_weights casts them unless the layers are made with dtype='{dtype}'",
        ),
        _MINDSPORE,
        _MINDSPORE._replace(
            name="mint",
            short="",
            package="mindspore.mint",
            others=("mindspore", "torch"),
        ),
    )
}

_BY_FORMAT = {
    "mindspore-ckpt": "mindspore",
    **dict.fromkeys(("hdf5", "keras-zip", "keras-sharded"), "keras"),
    **dict.fromkeys(("torch-zip", "torch-legacy", "torch-tar", "torch-export"), "torch"),
    "torchscript": "torch",
}
_BY_TEXT = {"pt": "torch", "ms": "mindspore", "tf": "keras"}
MINDSPORES = (
    # parameters of one module that only MindSpore's layers call so
    {"gamma", "beta", "moving_mean", "moving_variance"},
    {"embedding_table"},
)
EITHERS = {"gamma", "beta"}
"""A norm of MindSpore's, and of many a torch class."""
TORCHS = {"running_mean", "running_var", "num_batches_tracked"}


def dialect(name: str) -> Dialect:
    """Return a row by name.

    Raises:
        UsageError: no such dialect.
    """
    try:
        return DIALECTS[name]
    except KeyError:
        raise UsageError(f"unknown framework {name!r}", expected=" or ".join(DIALECTS)) from None


def loading(name: str, form: str, path: str) -> tuple[str, ...]:
    """Return the lines of Python that load a file into a ``network`` of a framework."""
    return tuple(line.format(path=repr(path)) for line in DIALECTS[name].loads.get(form, ()))


def kind_of(name: str) -> str | None:
    """Return the kind that some framework calls so, in the canonical graph's words or its own."""
    from ckptconv.graph.forms import classes
    from ckptconv.graph.kinds import KINDS, PARAMETER

    if name in KINDS or name == PARAMETER:
        return name
    called = (classes(row.forms).get(name) for row in DIALECTS.values())
    return next((kinds[0] for kinds in called if kinds), None)


def detect(checkpoint: Checkpoint, said: str | None = None) -> str:
    """Return the dialect a file speaks: by its format, its own word, or its names.

    Args:
        said: the framework that the user names.

    Raises:
        WrongFrameworkError: the file contradicts what the user says.
        DialectError: names of two frameworks, or of either.
    """
    known = _by_word(checkpoint)
    if said and known and said != known:
        error = WrongFrameworkError(
            f"not a file of {dialect(said).title}",
            expected=f"the names of {dialect(said).title}",
            found=f"{checkpoint.format}, a file of {dialect(known).title}",
            hint=option("source", known),
        )
        error.spoken = known
        raise error
    return said or known or _by_names(checkpoint)


def _by_word(checkpoint: Checkpoint) -> str | None:
    from ckptconv.checkpoint import SafetensorsFacts

    if isinstance(checkpoint.facts, SafetensorsFacts):
        return _BY_TEXT.get(checkpoint.facts.texts.get("format", ""))
    return _BY_FORMAT.get(checkpoint.format)


def _by_names(checkpoint: Checkpoint) -> str:
    """Weigh the names and shapes of all modules together; one name alone says nothing."""
    modules: dict[str, dict[str, tuple[int, ...]]] = {}
    for name, tensor in checkpoint.tensors.items():
        path, _, leaf = name.rpartition(".")
        modules.setdefault(path, {})[leaf] = tensor.shape
    groups = modules.values()
    mindspore = any(set(group) in MINDSPORES for group in groups)
    torch = any(
        TORCHS & set(group) or len(group.get("weight", (0, 0))) in (1, 3) for group in groups
    )
    either = any(set(group) == EITHERS for group in groups)
    if (mindspore and torch) or (either and not mindspore and not torch):
        raise DialectError(
            "the names do not tell whose they are",
            expected="torch's or MindSpore's",
            found="names of both" if mindspore else "gamma and beta",
            hint=f"{option('source', 'torch')} or {option('source', 'mindspore')}",
        )
    return "mindspore" if mindspore else "torch"
