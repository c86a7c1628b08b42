"""Graph to graph: what a user or a target asks of the layers between reading and writing."""
