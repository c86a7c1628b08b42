"""Fuzzing of every container: mutated files may be refused or read, and nothing else.

``python -m tests.fuzz [FORMAT …] [--count N] [--first K] [--jobs J]`` runs inputs K … K+N-1 of each
format. Input N of a format is always the same bytes: a seed file and mutations drawn from a random
generator that is seeded with both. ``python -m tests.fuzz FORMAT --first K --show DIR`` writes one.

Each input goes through reading, inspection, every value, and a conversion to another framework, in
a process that may not open other files, write but to the target, start anything, or import
(``guard``), within 5 seconds and 256 MiB (``watch``).
"""
