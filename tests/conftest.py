"""Settings for the whole test suite; nothing here changes what the library computes."""

import importlib.metadata
import os
import pathlib

# The suite compiles hundreds of tiny programs and runs each a few times, so compile time is all
# that counts: these flags make XLA's CPU compiler three times as fast and its programs slower.
# One piece of code per program, where XLA makes 32 for as many cores, takes a quarter less again.
# An unknown flag aborts the process, hence the version check for the younger ones.
_FLAGS = ["--xla_backend_optimization_level=0"]
if importlib.metadata.version("jaxlib").startswith("0.10."):
    _FLAGS += ["--xla_cpu_use_fusion_emitters=false", "--xla_cpu_parallel_codegen_split_count=1"]
os.environ.setdefault("XLA_FLAGS", " ".join(_FLAGS))
# Devices to shard over, simulated.
os.environ["XLA_FLAGS"] += " --xla_force_host_platform_device_count=8"
# Without the lines of source that each operation came from, lowering takes less of the time.
os.environ.setdefault("JAX_TRACEBACK_IN_LOCATIONS_LIMIT", "0")

from collections.abc import Iterator  # noqa: E402
from typing import Any  # noqa: E402

import hypothesis  # noqa: E402
import jax  # noqa: E402
import pytest  # noqa: E402
from xdist.scheduler import LoadFileScheduling  # noqa: E402

# The same examples in every run; tests that want more say so, and are slow.
hypothesis.settings.register_profile("suite", max_examples=25, deadline=None, derandomize=True)
hypothesis.settings.load_profile("suite")


MAPS = pathlib.Path("/proc/self/maps")
MOST_MAPS = 50_000
"""Linux allows a process 65,530 memory maps by default."""
SHARED = ("test_golden", "test_horizons", "test_planning", "test_proposed")
SHARED += ("test_search", "test_strict_settings", "test_target_cost")
"""Modules that plan the same problems by the same planners: one worker compiles them once."""


class _ByPrograms(LoadFileScheduling):
    """A module's tests run on one worker, and so do those of all modules in `SHARED`."""

    def _split_scope(self, nodeid: str) -> str:
        module = super()._split_scope(nodeid)
        return "matrix" if pathlib.Path(module).stem in SHARED else module


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling | None:
    """Not `--dist loadgroup`: with pytest 9.2 and xdist 3.8 it deals out every test by itself."""
    return _ByPrograms(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.fixture(scope="module", autouse=True)
def _forget_programs() -> Iterator[None]:
    """Frees all compiled programs now and then; modules share them until then.

    Each holds memory maps; a process that kept all of the suite's ran out of them, and XLA's
    compiler crashed.
    """
    yield
    if not MAPS.exists() or len(MAPS.read_text().splitlines()) > MOST_MAPS:
        jax.clear_caches()
