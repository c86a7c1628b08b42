"""The process: the script ``ckptconv`` and ``python -m ckptconv``."""

import atexit
import gc
import os
import sys
from contextlib import suppress


def main() -> None:
    """Run the command line without what a short run has no use for: a tenth of its time."""
    code: list[int] = []
    atexit.register(_leave, code)  # before all others, so that it is called after them
    gc.set_threshold(1_000_000)  # imports and readers make many objects and no garbage
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy starts one for each processor

    try:
        from ckptconv.cli import main as run

        run()
    except KeyboardInterrupt:  # before the command line could hear of it
        code.append(130)
        raise SystemExit(130) from None
    except SystemExit as end:
        code += [end.code] if isinstance(end.code, int) else []
        raise


def _leave(code: list[int]) -> None:
    """Let the system free at once what Python would take to pieces one by one.

    Not where another program ran this one inside of it, and goes on.
    """
    if code and getattr(sys.modules["__main__"], "main", None) is main:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):  # which was said, where it could be
                stream.flush()
        os._exit(code[0])


if __name__ == "__main__":
    main()
