"""Byte encodings that many formats use: zip, pickle, HDF5, protobuf, tar, deflate, JSON."""
