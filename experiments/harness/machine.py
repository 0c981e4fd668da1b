"""The machine that an experiment runs on: which cores, and what a time depends on."""

import os
import pathlib
import platform

import jax

from experiments.harness.log import Record


def use_cores(count: int) -> None:
    """Keeps this process to `count` cores; call it before JAX computes anything."""
    if count and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def machine() -> Record:
    """What a time depends on."""
    device = jax.devices()[0]
    name = device.device_kind
    if device.platform == "cpu" and pathlib.Path("/proc/cpuinfo").exists():
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
        name = names[0] if names else name
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "device": f"{device.platform}: {name}",
        "cores": cores,
        "python": platform.python_version(),
        "jax": jax.__version__,
    }
