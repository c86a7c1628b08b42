"""Zip archives: the directory, the members, an aligned writer."""
