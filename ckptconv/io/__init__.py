"""Files: a refusing reader, and targets that are written whole or not at all."""
