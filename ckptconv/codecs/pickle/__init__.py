"""Pickles, read by a machine that calls nothing they name."""
