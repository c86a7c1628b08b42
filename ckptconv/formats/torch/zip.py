"""torch.save's zip files (caffe2/serialize/inline_container.cc, torch/serialization.py).

``<root>/data.pkl`` is a pickle whose persistent ids name the records ``<root>/data/<key>``.
"""

from __future__ import annotations

from ckptconv.checkpoint import Checkpoint
from ckptconv.codecs.zip.reader import Archive, has_member
from ckptconv.formats.torch.checkpoint import build, with_facts
from ckptconv.formats.torch.records import find_root, format_version, unpickle_record
from ckptconv.formats.torch.writer import write
from ckptconv.io.reader import Source

__all__ = ["read", "sniff", "write"]


def sniff(source: Source) -> bool:
    """Tell whether a zip file, perhaps a truncated one, names a ``data.pkl``."""
    return has_member(source, "data.pkl")


def read(source: Source, *, select: str | None = None) -> Checkpoint:
    """Read names, shapes and dtypes.

    Raises:
        ContainerError: damaged, no weights, or weights in several places.
    """
    archive = Archive(source)
    root = find_root(archive, "data.pkl")
    checkpoint = build(unpickle_record(archive, root), source, "torch-zip", select)
    return with_facts(checkpoint, format_version=format_version(archive, root))
