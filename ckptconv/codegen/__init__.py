"""Text for the target's framework: the constructor call of each layer, and whole networks."""
