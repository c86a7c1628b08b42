"""Rows of the table of options, each shown on the real frameworks."""
