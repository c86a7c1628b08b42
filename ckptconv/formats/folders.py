"""A folder where a file is expected: what it holds, and which file of it to give.

Each row of ``KINDS`` names what writes such folders; where no file in one is a checkpoint by
itself, it has the way to make one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase, translate
from typing import NamedTuple

from ckptconv import formats
from ckptconv.errors import ContainerError, StrPath, listed
from ckptconv.formats.registry import SUFFIXES
from ckptconv.io.reader import File
from ckptconv.spelling import option, quoted

_DEEP, _MOST_ENTRIES, _MOST_OPENED, _LISTED, _ADVISED = 4, 10_000, 100, 6, 3


class _Kind(NamedTuple):
    """What writes such folders.

    Attributes:
        marks: patterns of names, each of which fits something in the folder.
        way: to a file, from ``{folder}``, where none in it can be given.
    """

    what: str
    marks: tuple[str, ...]
    way: str = ""


KINDS = (
    _Kind(
        "a distributed checkpoint of torch",
        (".metadata", "*.distcp"),
        "python -m torch.distributed.checkpoint.format_utils dcp_to_torch {folder} model.pt",
    ),
    _Kind(
        "a DeepSpeed checkpoint",
        ("zero_to_fp32.py", "latest"),
        "python {folder}/zero_to_fp32.py {folder} merged",
    ),
    _Kind(
        "a SavedModel of TensorFlow",
        ("saved_model.pb",),
        "tf_keras.models.load_model({folder!r}).save('model.h5')",
    ),
    _Kind(
        "a checkpoint of TensorFlow",
        ("*.index", "*.data-*-of-*"),
        "model.load_weights(…) and model.save_weights('model.h5') in tf_keras",
    ),
    _Kind(
        "an unpacked file of torch.save",
        ("data.pkl", "data"),
        "python -m zipfile -c model.pt {folder}",
    ),
    _Kind("an unpacked Keras model", ("model.weights.h5", "config.json", "metadata.json")),
    _Kind("a folder of Hugging Face's", ("config.json", "*model*.safetensors*")),
    _Kind("a folder of Hugging Face's", ("config.json", "*pytorch_model*.bin*")),
    _Kind("a model of MLflow", ("MLmodel",)),
    _Kind("an experiment of ESPnet", ("config.yaml", "*epoch.pth")),
    _Kind("checkpoints of MindSpore's ranks, each the whole model or a slice", ("rank_*",)),
)
_BEST = [
    re.compile(translate(pattern))
    for pattern in (
        *("*.index.json", "*.weights.json", "model.safetensors", "model.*", "*_model.*"),
        *("*.ave*", "*best*", "*final*", "*last*", "*latest*", "*epoch*"),
    )
]
_STATE = re.compile(r"optim|scheduler|rng_state|random_states|training_args|scaler")
"""What stands beside weights after a training."""
_SHARD = re.compile(r"(-\d+-of-\d+|_\d{5})\.")


def refusal(path: StrPath) -> ContainerError:
    """Return the error of a folder that was given for a file: what to give instead."""
    folder = os.fsdecode(path)
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        return ContainerError(f"cannot be opened: {error.strerror}", file=path)
    files = _checkpoints(folder)
    kind = next((row for row in KINDS if _fits(row, names)), None)
    shown = listed(map(repr, names), _LISTED) or "nothing in it"
    found = f"{kind.what}: {shown}" if kind else f"a folder: {shown}"
    if kind and kind.way:
        spelled = folder if "!r" in kind.way else quoted(folder)
        hint: str | None = kind.way.format(folder=spelled)
    else:
        hint = " or ".join(_given(file) for file in files[:_ADVISED]) or None
    expected = "one of the files in it" if len(files) > 1 and not (kind and kind.way) else "a file"
    return ContainerError("not a checkpoint", file=path, expected=expected, found=found, hint=hint)


def _fits(kind: _Kind, names: Sequence[str]) -> bool:
    return all(any(fnmatchcase(name, mark) for name in names) for mark in kind.marks)


def _given(file: str) -> str:
    """Return a file as a command takes it, with the configuration beside Keras's weights."""
    config = os.path.join(os.path.dirname(file), "config.json")
    alone = file.endswith(".weights.h5") and os.path.exists(config)
    return quoted(file) + (f" {option('config', config)}" if alone else "")


def _checkpoints(folder: str) -> list[str]:
    """Return the files in a folder that seem to be checkpoints by themselves, the likeliest first.

    What they hold decides, unless nothing in the folder is what it is called.
    """
    files = [*_files(folder)]
    named = sorted((file for file in files if file.lower().endswith(SUFFIXES)), key=_order)
    weights = [file for file in named if not _STATE.search(os.path.basename(file))] or named
    indexed = {os.path.dirname(file) for file in weights if file.endswith(".json")}
    whole = [f for f in weights if not _SHARD.search(f) or os.path.dirname(f) not in indexed]
    return [*_read(whole)] or whole or [*_read(sorted(files, key=_order))]


def _read(files: Sequence[str]) -> Iterator[str]:
    for file in files[:_MOST_OPENED]:
        with suppress(ContainerError):
            formats.recognise(File(file))
            yield file


def _files(folder: str) -> Iterator[str]:
    """Yield the files in a folder and those below it; a folder can be as large as it likes."""
    left = _MOST_ENTRIES
    for above, folders, names in os.walk(folder):
        deep = os.path.relpath(above, folder).count(os.sep) + (above != folder)
        folders[:] = sorted(name for name in folders if name[:1] != "." and deep < _DEEP)
        yield from (os.path.join(above, name) for name in names[:left])
        left -= len(names) + len(folders)
        if left <= 0:
            return


def _order(file: str) -> tuple[int, int, list[int], str]:
    """Return what sorts files: whole models and the best of many first, later ones before."""
    name = os.path.basename(file)
    rank = next((n for n, best in enumerate(_BEST) if best.match(name)), len(_BEST))
    return rank, file.count(os.sep), [-int(number) for number in re.findall(r"\d+", name)], file
