"""Convert weight checkpoints of recurrent models between PyTorch, Keras and MindSpore."""
