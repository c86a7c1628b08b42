"""What a caller can ask of a conversion, by the names that the API, the command line and reports
use: two immutable values, one for each side."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict, TypeVar, get_args

from ckptconv.checkpoint import Checkpoint
from ckptconv.errors import StrPath as StrPath
from ckptconv.errors import UsageError
from ckptconv.graph.graph import Framework as Framework
from ckptconv.graph.hints import KindHint, parse_hint, resolve
from ckptconv.options.values import Allowance, check, pairs, texts
from ckptconv.spelling import option

Target = Literal["torch", "keras", "mindspore", "mint"]
DTypeName = Literal["float16", "bfloat16", "float32", "float64"]
FlatLayout = Literal["cpu", "gpu", "ascend"]
Hardware = Literal["ascend"]
Progress = Callable[[int], None]
"""Called with the number of bytes just written."""
Pairs = Mapping[str, str] | Iterable[tuple[str, str]]
Fuses = Mapping[str, Sequence[str]] | Iterable[tuple[str, Sequence[str]]]
Like = StrPath | Mapping[str, Sequence[int]] | Checkpoint

DEVICES = ("CPU", "GPU", "Ascend")
_CHOICES: Mapping[str, tuple[str, ...]] = {
    "source": get_args(Framework),
    "flat_layout": get_args(FlatLayout),
    "hardware": get_args(Hardware),
    "dtype": get_args(DTypeName),
    "device": DEVICES,
}
"""Options that take one of a few words."""
Value = TypeVar("Value")
_CALLED = {"source": "framework", "flat_layout": "layout"}


class ReadKeywords(TypedDict, total=False):
    """The options of ``load``, for functions that hand them on."""

    source: Framework | None
    select: str | None
    kinds: Pairs
    rename: Pairs
    map: StrPath | Mapping[str, str] | None
    fuse: Fuses
    split: Iterable[str]
    gates: str | None
    forget_bias: float
    z_convention: bool
    flat_layout: FlatLayout | None
    allow: Iterable[str]
    restore: StrPath | None
    config: StrPath | None


@dataclass(frozen=True, init=False)
class ReadOptions:
    """How a checkpoint is read.

    Attributes:
        source: the framework whose names it has; by default what the file speaks.
        select: which part, where a file holds several.
        kinds: module path → what the user says it is.
        rename: (regular expression, replacement), applied in order to module paths.
        map: a TOML or JSON file, or a mapping, of old path → new path.
        fuse: (new path, paths): recurrent layers to make one layer of.
        split: paths of recurrent layers to make one layer each of.
        gates: the source's gate order: letters (``iofc``) or a row of ``graph.gates.ORDERS``.
        forget_bias: what the source adds to the forget gate at run time.
        z_convention: the source's GRU computes h' = (1 - z) ⊙ h + z ⊙ n.
        flat_layout: how a MindSpore before 1.6 laid out a flat LSTM weight.
        allow: approximations that the user accepts by name.
        restore: the report of the conversion that made the file, which is undone.
        config: the model's configuration as JSON, where it stands beside the weights.
    """

    source: Framework | None
    select: str | None
    kinds: Mapping[str, KindHint]
    rename: tuple[tuple[str, str], ...]
    map: StrPath | Mapping[str, str] | None
    fuse: tuple[tuple[str, tuple[str, ...]], ...]
    split: tuple[str, ...]
    gates: str | None
    forget_bias: float
    z_convention: bool
    flat_layout: FlatLayout | None
    allow: Allowance
    restore: StrPath | None
    config: StrPath | None

    def __init__(
        self,
        *,
        source: Framework | None = None,
        select: str | None = None,
        kinds: Pairs = (),
        rename: Pairs = (),
        map: StrPath | Mapping[str, str] | None = None,
        fuse: Fuses = (),
        split: Iterable[str] = (),
        gates: str | None = None,
        forget_bias: float = 0.0,
        z_convention: bool = False,
        flat_layout: FlatLayout | None = None,
        allow: Iterable[str] = (),
        restore: StrPath | None = None,
        config: StrPath | None = None,
    ) -> None:
        """Check the options, and keep iterables and mappings as tuples.

        Raises:
            UsageError: a value that an option does not take.
        """
        given = {
            "source": choice("source", source),
            "select": select,
            "kinds": {path: parse_hint(path, text) for path, text in pairs("kinds", kinds)},
            "rename": tuple(pairs("rename", rename)),
            "map": map,
            "fuse": tuple((path, texts("fuse", parts)) for path, parts in pairs("fuse", fuse)),
            "split": texts("split", split),
            "gates": gates,
            "forget_bias": forget_bias,
            "z_convention": z_convention,
            "flat_layout": choice("flat_layout", flat_layout),
            "allow": Allowance(texts("allow", allow)),
            "restore": restore,
            "config": config,
        }
        check(given)
        for name, value in given.items():
            object.__setattr__(self, name, value)

    def resolved(self, kind_of: Callable[[str], str | None]) -> ReadOptions:
        """Return options whose kinds are those of the table of layers.

        Args:
            kind_of: what finds the kind that a framework's class is (``Dense`` → ``Linear``).

        Raises:
            UsageError: a kind that no framework knows, or an argument that it does not have.
        """
        kinds = {path: resolve(path, hint, kind_of) for path, hint in self.kinds.items()}
        return self.with_kinds(kinds)

    def with_kinds(self, kinds: Mapping[str, KindHint]) -> ReadOptions:
        """Return options with these kinds."""
        return self._with("kinds", kinds)

    def allowing(self, names: Iterable[str]) -> ReadOptions:
        """Return options that accept these approximations."""
        return self._with("allow", Allowance(names))

    def _with(self, name: str, value: object) -> ReadOptions:
        made = copy.copy(self)
        object.__setattr__(made, name, value)
        return made


@dataclass(frozen=True)
class WriteOptions:
    """How a graph is written.

    Attributes:
        like: the target's parameters, whose names are taken: a file, or name → shape.
        like_order: accept what is paired by order where names and shapes do not decide.
        fill: (module or parameter that only the target has, ``zeros``, ``ones`` or ``target``).
        drop: modules and parameters of the source to leave out.
        fold_bias: (convolution, BatchNorm that follows it): its bias goes into the statistics.
        dtype: of floating-point tensors.
        fold_proj: turn an LSTM's ``proj_size`` into an exactly equal LSTM and a Dense.
        hardware: ``ascend`` makes what that hardware cannot do an error.
        check: read the file back and compare every byte.
        dry_run: do everything but write.
        force: replace an existing file.
        progress: called with the number of bytes just written.
        network: a Python file for the network, where the source records it; stubs: its layers
            that are left as functions to be written by hand.
    """

    like: Like | None = None
    like_order: bool = False
    fill: Pairs = ()
    drop: Iterable[str] = ()
    fold_bias: Pairs = ()
    dtype: DTypeName | None = None
    fold_proj: bool = False
    hardware: Hardware | None = None
    check: bool = False
    dry_run: bool = False
    force: bool = False
    progress: Progress | None = None
    network: StrPath | None = None
    stubs: Iterable[str] = ()

    def __post_init__(self) -> None:
        """Raise UsageError for a value that an option does not take."""
        check(vars(self))
        for name in ("dtype", "hardware"):
            choice(name, getattr(self, name))
        object.__setattr__(self, "stubs", texts("stubs", self.stubs))
        for name in ("fill", "fold_bias"):
            object.__setattr__(self, name, tuple(pairs(name, getattr(self, name))))
        object.__setattr__(self, "drop", texts("drop", self.drop))

    def check_together(self) -> None:
        """Raise UsageError for an option that means nothing without another, which is not there."""
        if self.like is None and (self.like_order or self.fill):
            said = option("like_order" if self.like_order else "fill")
            expected = f"{option('like', 'TARGET')} too"
            raise UsageError(f"{said} speaks of a target network", expected=expected)
        stubs_of(self.network, self.stubs)


def stubs_of(network: object, stubs: Iterable[str]) -> tuple[str, ...]:
    """Return the layers that a written network leaves to a person.

    Raises:
        UsageError: there is no network, or no list of texts.
    """
    left = texts("stubs", stubs)
    if left and not network:
        expected = option("network", True if network is False else "FILE.py") + " too"
        raise UsageError(f"{option('stubs')} speaks of a written network", expected=expected)
    return left


def choice(name: str, value: Value) -> Value:
    """Return the value of an option that takes a few; UsageError for another one."""
    if value is not None and value not in _CHOICES[name]:
        expected = " or ".join(_CHOICES[name])
        raise UsageError(f"unknown {_CALLED.get(name, name)} {value!r}", expected=expected)
    return value
