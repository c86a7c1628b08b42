"""Proving that two checkpoints compute the same."""
