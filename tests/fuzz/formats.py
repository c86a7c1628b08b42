"""The table of what is fuzzed: seeds and the mutation of each format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from random import Random

from tests.fuzz import bits, jsons, layouts, pickles, protobufs, zips

TESTS = Path(__file__).resolve().parents[1]
_MEMBERS = {
    "data.pkl": pickles.mutate,
    "constants.pkl": pickles.mutate,
    ".pkl": pickles.mutate,
    ".h5": layouts.hdf5,
    ".json": jsons.mutate,
    ".py": layouts.code,
    "byteorder": bits.bytewise,
}
_zip = partial(zips.mutate, kinds=_MEMBERS)
_SHARDS = {
    ".json": jsons.mutate,
    ".toml": bits.bytewise,
    ".h5": layouts.hdf5,
    ".safetensors": layouts.safetensors,
    ".ckpt": protobufs.mutate,
    ".txt": layouts.lines,
}
Files = dict[str, bytes]
"""File name → content; the first is the one that is opened."""


@dataclass(frozen=True)
class Format:
    """A row of the table.

    Attributes:
        container: the name in ``ckptconv.formats.FORMATS``.
        seeds: patterns below ``tests``.
        mutate: changes the bytes of a seed.
        beside: the pattern of the shards that belong to a seed ``{stem}``.
        option: that takes the file beside a seed; then that one alone is mutated.
    """

    name: str
    container: str
    seeds: tuple[str, ...]
    mutate: Callable[[bytes, Random], bytes]
    beside: str = ""
    option: str = ""

    def sources(self) -> list[Path]:
        found = [path for pattern in self.seeds for path in sorted(TESTS.glob(pattern))]
        most = (40 if self.option else 20) << 10
        return [path for path in found if path.stat().st_size <= most]

    def input(self, number: int) -> Files:
        """Return input ``number``: always the same for the same seeds."""
        rng = Random(f"{self.name} {number}")
        path = rng.choice(_sources(self))
        files = self.files(path)
        if len(files) == 1:
            return {path.name: self.mutate(files[path.name], rng)}
        chosen = [*files][-1] if self.option else rng.choice([path.name, path.name, *files])
        mutate = _SHARDS.get(Path(chosen).suffix, _zip)
        return {**files, chosen: mutate(files[chosen], rng)}

    @lru_cache(None)  # noqa: B019 - rows live as long as the process
    def files(self, path: Path) -> Files:
        """Return a seed with the shards that belong to it."""
        files = {path.name: path.read_bytes()}
        if self.beside:
            stem = path.name.split(".")[0]
            shards = sorted(path.parent.glob(self.beside.format(stem=stem)))
            files |= {shard.name: shard.read_bytes() for shard in shards}
        return files


@lru_cache(None)
def _sources(row: Format) -> list[Path]:
    return row.sources()


_GOLDEN, _SEEDS = "golden/keras/", "fuzz/seeds/"
FORMATS = {
    row.name: row
    for row in (
        Format("torch-zip", "torch-zip", (_SEEDS + "zip-*.pt",), _zip),
        Format("torch-legacy", "torch-legacy", (_SEEDS + "legacy-*.pt",), layouts.legacy),
        Format("torch-tar", "torch-tar", (_SEEDS + "*.tar",), layouts.tar),
        Format("torchscript", "torchscript", (_SEEDS + "script-*.pt",), _zip),
        Format("torch-export", "torch-export", (_SEEDS + "*.pt2",), _zip),
        Format(
            "hdf5-legacy",
            "hdf5",
            (_SEEDS + "*legacy*.h5", _GOLDEN + "keras1*.h5", _GOLDEN + "keras2*_full.h5"),
            layouts.hdf5,
        ),
        Format(
            "hdf5-weights",
            "hdf5",
            (_SEEDS + "[bv]*weights.h5", _GOLDEN + "*_l2_*.weights.h5"),
            layouts.hdf5,
        ),
        Format("keras-zip", "keras-zip", (_GOLDEN + "*_zip_*.keras",), _zip),
        Format(
            "keras-sharded",
            "keras-sharded",
            (_GOLDEN + "*.weights.json",),
            jsons.mutate,
            "{stem}_0*.weights.h5",
        ),
        Format(
            "index",
            "sharded-index",
            (_SEEDS + "*.index.json",),
            jsons.mutate,
            "{stem}-[12].*",
        ),
        Format("bundle", "bundle", (_SEEDS + "*.gz",), layouts.gzipped),
        Format("safetensors", "safetensors", (_SEEDS + "*.safetensors",), layouts.safetensors),
        Format("mindspore-ckpt", "mindspore-ckpt", (_SEEDS + "*.ckpt",), protobufs.mutate),
        Format(
            "keras-config",
            "hdf5",
            (_SEEDS + "config-*.h5",),
            bits.bytewise,
            "{stem}.json",
            "config",
        ),
        Format(
            "map-json",
            "torch-zip",
            (_SEEDS + "zip-tagger.pt",),
            bits.bytewise,
            "{stem}.map.json",
            "map",
        ),
        Format(
            "map-toml",
            "safetensors",
            (_SEEDS + "tagger.safetensors",),
            bits.bytewise,
            "{stem}.map.toml",
            "map",
        ),
        Format("like-list", "torch-zip", (_SEEDS + "zip-tagger.pt",), _zip, "like.txt", "like"),
        Format("like-ckpt", "torch-zip", (_SEEDS + "zip-tagger.pt",), _zip, "tagger.ckpt", "like"),
        Format("like-keras", "torch-zip", (_SEEDS + "zip-tagger.pt",), _zip, "like.keras", "like"),
        Format(
            "report",
            "hdf5",
            (_SEEDS + "restored.weights.h5",),
            layouts.hdf5,
            "{stem}.json",
            "restore",
        ),
    )
}
