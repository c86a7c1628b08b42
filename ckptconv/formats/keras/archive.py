"""Keras 3's ``.keras``: a zip with ``config.json``, ``metadata.json`` and ``model.weights.h5``.

Source of the format: Keras's ``saving/saving_lib.py``. The configuration is parsed as data; no
layer is built from it.
"""

from __future__ import annotations

from dataclasses import replace

from ckptconv.checkpoint import Checkpoint
from ckptconv.codecs.json import parse
from ckptconv.codecs.zip.reader import Archive, is_zip
from ckptconv.errors import ContainerError
from ckptconv.formats.keras import h5 as hdf5
from ckptconv.formats.keras.h5_writer import facts_of
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
    config, version = parse(archive.read(_CONFIG), source.path, _CONFIG), ""
    if _METADATA in archive:
        said = parse(archive.read(_METADATA), source.path, _METADATA).get("keras_version")
        version = said if isinstance(said, str) else ""
    others = [name for name in archive.records if name not in (_CONFIG, _METADATA, _WEIGHTS)]
    return replace(
        checkpoint,
        format="keras-zip",
        facts=facts_of(checkpoint)._replace(config=config, keras_version=version),
        omitted={**checkpoint.omitted, **dict.fromkeys(others, "not weights")},
    )
