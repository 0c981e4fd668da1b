"""Two processes with two devices each plan one batch over CPU collectives."""

import os
import pathlib
import socket
import subprocess
import sys

import numpy as np

import grasp_jax
from tests import matrix


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]


def test_two_processes_plan_what_one_plans(tmp_path: pathlib.Path):
    root, port = pathlib.Path(__file__).parents[2], _free_port()
    workers = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.processes.worker"),
                *(str(index), "2", str(port), str(tmp_path / f"{index}.npz")),
            ],
            cwd=root,
            env={**os.environ, "JAX_PLATFORMS": "cpu"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(2)
    ]
    try:
        for worker in workers:
            _, errors = worker.communicate(timeout=240)
            assert worker.returncode == 0, errors[-2000:]
    finally:
        for worker in workers:
            worker.kill()

    problem = matrix.problem(
        state=matrix.stacked(*matrix.STARTS, matrix.START),
        goal=matrix.stacked(*matrix.GOALS, matrix.GOAL),
        horizon=matrix.HORIZONS,
        batched=True,
    )
    planner = matrix.PLANNERS["GRASP"]
    expected = grasp_jax.solve(problem, matrix.key(), planner=planner).actions
    seen = np.zeros(expected.shape, bool)
    for index in range(2):
        saved = np.load(tmp_path / f"{index}.npz")
        for n, (goals, steps) in enumerate(zip(saved["goals"], saved["steps"], strict=True)):
            place = slice(*goals), slice(*steps)
            np.testing.assert_allclose(saved[f"rows{n}"], expected[place], atol=1e-4)
            seen[place] = True
    assert seen.all()
