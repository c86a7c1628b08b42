"""A whole network: its inputs, its proof against the model it was written of, its vectors."""
