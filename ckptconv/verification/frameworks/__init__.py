"""The frameworks as judges: each loads its file and runs its layers itself."""
