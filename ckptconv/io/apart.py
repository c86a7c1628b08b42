"""A function in a thread of its own, which is waited for."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Apart:
    """A function that runs in a thread of its own."""

    def __init__(self, function: Callable[[], None]) -> None:
        self._function = function
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Wait for it; what it raised is raised here."""
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            self._function()
        except BaseException as error:
            self._error = error
