"""What a wrapper puts before all names of a network: taken off where something proves the wrapper.

A network may own an attribute called ``model`` or ``module``, so that a name proves nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

from ckptconv.checkpoint import Checkpoint
from ckptconv.errors import DialectError
from ckptconv.options import ReadOptions
from ckptconv.spelling import option

_CONTENT = "module."
_WRAPPERS = (
    "DataParallel",
    "DistributedDataParallel",
    "torch.nn.parallel.distributed.DistributedDataParallel",
    "torch.optim.swa_utils.AveragedModel",
)
"""Classes that hold a whole network as ``module``."""
_INNER = {
    "_orig_mod.": "torch.compile",
    "_fsdp_wrapped_module.": "FullyShardedDataParallel",
    "_checkpoint_wrapped_module.": "checkpoint_wrapper",
}
"""What torch's wrappers around the model or any part of it call their content, as nobody else."""
_FLAT = "_flat_param"
_AVERAGED = "n_averaged"
_USUAL = ("module", "model", "net", "network", "backbone", "_backbone")


def without_wrappers(checkpoint: Checkpoint) -> Checkpoint:
    """Take the prefixes of proven wrappers off all names, and what a wrapper keeps for itself.

    Proven are the class of a whole module, and AveragedModel by its counter beside ``module``.

    Raises:
        DialectError: two tensors would get one name.
    """
    plain, text = checkpoint, ".\n".join((*checkpoint.tensors, *checkpoint.modules, ""))
    for segment, owner in _INNER.items():
        if segment in text:
            named = _renamed(plain, partial(_without, segment))
            told = f"'{segment}' of {owner} was taken out of the names"
            plain = _noted(named, told) if named is not plain else plain
    if flat := next((name for name in plain.tensors if name.rpartition(".")[2] == _FLAT), None):
        raise DialectError(
            "the weights of several layers in one row, as FullyShardedDataParallel has them",
            tensor=flat,
            hint="saving with state_dict_type=FULL_STATE_DICT",
        )
    while wrapper := _wrapper(plain):
        counted = [name for name in plain.tensors if name == _AVERAGED]
        rule = "how many models AveragedModel has averaged"
        names = names_in_file(checkpoint, plain)
        inner = replace(
            plain,
            tensors={n: t for n, t in plain.tensors.items() if n not in counted},
            omitted={**plain.omitted, **{names[name]: rule for name in counted}},
        )
        plain = _renamed(inner, lambda name: name.removeprefix(_CONTENT))
        plain = _noted(plain, f"the prefix '{_CONTENT}' of {wrapper} was taken off all names")
    return plain


def names_in_file(checkpoint: Checkpoint, bare: Checkpoint) -> dict[str, str]:
    """Return the names without wrappers → those of the file, for what is left out by them."""
    kept = (name for name in checkpoint.tensors if name not in bare.omitted)
    return dict(zip(bare.tensors, kept, strict=True))


def advice(names: Iterable[str], options: ReadOptions) -> tuple[str, ...]:
    """Say how to take off a prefix that may be a wrapper's, and may be the network's own; nothing
    to whom gives the modules other paths already."""
    if options.rename or options.map or options.restore:
        return ()
    first, *others = {name.partition(".")[0] if "." in name else "" for name in names} or {""}
    if others or first not in _USUAL:
        return ()
    rename = option("rename", {rf"^{re.escape(first)}(\.|$)": ""})
    told = f"all names begin with '{first}.', which nothing proves to be a wrapper's"
    return (f"{told}: kept; {rename} takes it off",)


def _without(inner: str, name: str) -> str:
    return f".{name}".replace(f".{inner}", ".")[1:]


def _wrapper(checkpoint: Checkpoint) -> str:
    """Return the class of the wrapper around all of a checkpoint, or nothing."""
    module = checkpoint.modules.get("")
    name = (module.class_name if module else None) or ""
    if name in _WRAPPERS:
        return name.rpartition(".")[2]
    counter = checkpoint.tensors.get(_AVERAGED)
    rest = [other for other in checkpoint.tensors if other != _AVERAGED]
    whole = bool(rest) and all(other.startswith(_CONTENT) for other in rest)
    averaged = counter is not None and counter.shape == () and counter.dtype.kind == "i"
    return "AveragedModel" if averaged and whole else ""


def _noted(checkpoint: Checkpoint, note: str) -> Checkpoint:
    return replace(checkpoint, notes=(*checkpoint.notes, note))


def _renamed(checkpoint: Checkpoint, rename: Callable[[str], str]) -> Checkpoint:
    """Rename tensors and modules; the path of a wrapper itself becomes that of its content."""
    names = {name: rename(name) for name in checkpoint.tensors}
    tensors = {names[name]: tensor for name, tensor in checkpoint.tensors.items()}
    if len(tensors) < len(names):
        raise DialectError(
            "stands in the file with a wrapper's prefix and without",
            tensor=next(new for old, new in names.items() if old != new and new in names),
        )
    modules = {rename(f"{path}.")[:-1]: module for path, module in checkpoint.modules.items()}
    if names.keys() == tensors.keys() and modules.keys() == checkpoint.modules.keys():
        return checkpoint
    return replace(checkpoint, tensors=tensors, modules=modules)
