"""``--restore``: the conversion that made a file is undone, by the report of it."""
