"""Counts the programs that JAX compiles, so that the page can say when it waits for one."""

import threading

import jax

from experiments.live.controls import Settings

_EVENT = "/jax/core/compile/backend_compile_duration"
_lock = threading.Lock()
_durations: list[float] = []
_known: set[tuple[str, str, str]] = set()


def _listen(event: str, duration_secs: float, **_: str | int) -> None:
    if event == _EVENT:
        with _lock:
            _durations.append(duration_secs)


jax.monitoring.register_event_duration_secs_listener(_listen)


def count() -> int:
    """Programs compiled by this process so far."""
    with _lock:
        return len(_durations)


def seconds() -> float:
    """Seconds they took."""
    with _lock:
        return sum(_durations)


def _structure(world: str, settings: Settings) -> tuple[str, str, str]:
    sync = settings.sync if settings.planner in ("GRASP", "GRASP-author") else ""
    return world, settings.planner, sync


def known(world: str, settings: Settings) -> bool:
    """Whether a search of this structure has been run before, by any page."""
    with _lock:
        return _structure(world, settings) in _known


def remember(world: str, settings: Settings) -> None:
    """From now on it is `known`."""
    with _lock:
        _known.add(_structure(world, settings))
