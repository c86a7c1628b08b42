"""Keras's layouts: `.h5`, `.weights.h5`, `.keras`, sharded weights."""
