"""Lazy values: what they are, how they are laid out anew, how they stream to a file."""
