"""The process: the script ``ckptconv`` and ``python -m ckptconv``."""

import atexit
import gc
import os


def main() -> None:
    """Run the command line without what a short run has no use for: a tenth of its time."""
    gc.set_threshold(1_000_000)  # imports and readers make many objects and no garbage
    atexit.register(gc.freeze)  # what is left in the end needs no last search for cycles
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy starts one for each processor

    from ckptconv.cli import main as run

    run()


if __name__ == "__main__":
    main()
