"""Everything that torch saves."""
