"""Keras 3's ``.keras``: a zip with ``config.json``, ``metadata.json`` and ``model.weights.h5``.

Source of the format: Keras's ``saving/saving_lib.py``. The configuration is parsed as data; no
layer is built from it.
"""

from __future__ import annotations

from ckptconv.checkpoint import Checkpoint
from ckptconv.codecs.json import parse
from ckptconv.codecs.zip.reader import Archive, is_zip
from ckptconv.errors import ContainerError
from ckptconv.formats.keras import h5 as hdf5
from ckptconv.io.reader import Source

_CONFIG, _METADATA, _WEIGHTS = "config.json", "metadata.json", "model.weights.h5"


def sniff(source: Source) -> bool:
    """Tell whether the members of a ``.keras`` file are there."""
    try:
        return is_zip(source) and {_CONFIG, _WEIGHTS} <= Archive(source).records.keys()
    except ContainerError:
        return False


def read(source: Source, *, select: str | None = None) -> Checkpoint:
    """Read the weights as ``hdf5`` does, with the model's configuration.

    Raises:
        ContainerError: a damaged archive, JSON or HDF5 file.
    """
    archive = Archive(source)
    checkpoint = hdf5.read(archive.member(_WEIGHTS), select=select)
    checkpoint.container = "keras-zip"
    checkpoint.metadata["model_config"] = parse(archive.read(_CONFIG), source.path, _CONFIG)
    if _METADATA in archive:
        version = parse(archive.read(_METADATA), source.path, _METADATA).get("keras_version")
        if isinstance(version, str):
            checkpoint.metadata["keras_version"] = version
    for name in archive.records.keys() - {_CONFIG, _METADATA, _WEIGHTS}:
        checkpoint.omitted[name] = "not weights"
    checkpoint.sources = [source]
    return checkpoint
