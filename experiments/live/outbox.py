"""What a session has to tell its page: the newest picture, all rows of the chart, all messages.

The session's thread puts, the server's loop takes. A slow page gets fewer pictures, never old ones.
"""

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

_MOST_ROWS = 2000
_MOST_MESSAGES = 50


class Outbox:
    """Safe to use from several threads."""

    def __init__(self, wake: Callable[[], None] = lambda: None):
        """Makes an empty one; `wake` is called, from any thread, when there is something."""
        self._wake, self._lock = wake, threading.Lock()
        self._view: dict[str, Any] = {}
        self._rows: deque[list[Any]] = deque(maxlen=_MOST_ROWS)
        self._messages: deque[dict[str, Any]] = deque(maxlen=_MOST_MESSAGES)

    def show(self, **parts: Any) -> None:
        """Replaces parts of the picture."""
        with self._lock:
            self._view.update(parts)
        self._wake()

    def add_row(self, *row: Any) -> None:
        """A row of the chart."""
        with self._lock:
            self._rows.append(list(row))
        self._wake()

    def say(self, text: str, kind: str = "info") -> None:
        """A message to read: `info`, `good` or `error`."""
        with self._lock:
            self._messages.append({"text": text, "kind": kind})
        self._wake()

    def take(self) -> dict[str, Any]:
        """Everything put since the last time; empty where there was nothing."""
        with self._lock:
            found: dict[str, Any] = {}
            if self._view:
                found["view"], self._view = self._view, {}
            if self._rows:
                found["rows"] = list(self._rows)
                self._rows.clear()
            if self._messages:
                found["messages"] = list(self._messages)
                self._messages.clear()
        return found
