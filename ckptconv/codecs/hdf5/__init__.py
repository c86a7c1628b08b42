"""HDF5 files, read natively: bytes only, nothing of Keras."""
