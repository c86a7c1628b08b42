"""What a comparison says, as values."""
