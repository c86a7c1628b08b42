"""The canonical graph: layers, gates, the table of kinds."""
