"""What `swm_timings` times: planners of ours, of PyTorch's textbook and of stable-worldmodel.

Each takes a `Case` and a horizon in model steps, and returns a record with `seconds` per plan.
"""

import dataclasses
import time
import types
from collections.abc import Callable
from typing import Any

from absl import app

from experiments.harness.log import Record

ITERATIONS, SYNCS, SYNC_STEPS = 750, 15, 10
SAMPLES, GRADIENT_SAMPLES, STEPS = 300, 100, 30
BLOCK, A = 5, 10


def seconds(run: Callable[[], Any]) -> float:
    """How long one call takes."""
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def extended(run: Callable[[int], Any], few: int, more: int, full: int) -> Record:
    """The time of `run(full)`, from those of `run(few)` and `run(more)`, after a warm-up."""
    run(1)
    low, high = seconds(lambda: run(few)), seconds(lambda: run(more))
    each = (high - low) / (more - few)
    return {"seconds": low + (full - few) * each, "measured": f"{few} and {more} of {full}"}


class Case:
    """The model in both frameworks, and one problem."""

    def __init__(self, small: bool):
        import jax
        import torch  # pyright: ignore[reportMissingImports]

        from experiments.models import reference
        from grasp_jax.world_models import LeWM, LeWMConfig, ViTConfig

        tiny = ViTConfig(width=64, depth=2, heads=1, hidden=96, patch=28, pos_grid=8, image=224)
        config = LeWMConfig(latent=64, depth=2, heads=2, hidden=96, encoder=tiny)
        self.config = config if small else LeWMConfig()
        self.theirs = reference.lewm(self.config).requires_grad_(False)
        from grasp_jax.world_models import load_lewm

        loaded = load_lewm(self.theirs.state_dict())
        self.ours = LeWM(loaded.weights, self.config)
        torch.manual_seed(0)
        size = self.config.encoder.image
        self.info = {k: torch.randn(1, 1, 3, size, size) for k in ("pixels", "goal")}
        self.info["action"] = torch.zeros(1, 1, A)
        latents = self.ours.encode(jax.numpy.asarray(self.info["pixels"][0].numpy()))
        goals = self.ours.encode(jax.numpy.asarray(self.info["goal"][0].numpy()))
        self.start, self.goal = (torch.tensor(jax.device_get(x))[0] for x in (latents, goals))


def configure(solver: Any, horizon: int) -> Any:
    """The solver, for one Push-T environment."""
    import gymnasium

    config = types.SimpleNamespace(horizon=horizon, action_block=BLOCK, history_len=1)
    space = gymnasium.spaces.Box(-1, 1, (1, A // BLOCK))
    solver.configure(action_space=space, n_envs=1, config=config)
    return solver


def their_cem(case: Case, horizon: int) -> Record:
    """stable-worldmodel's CEM with its defaults."""
    solvers = their_solvers()

    def run(steps: int) -> None:
        solver = solvers.CEMSolver(case.theirs, num_samples=SAMPLES, n_steps=steps, topk=30)
        configure(solver, horizon).solve(dict(case.info))

    return extended(run, 1, 4, STEPS)


def their_gradient(case: Case, horizon: int) -> Record:
    """stable-worldmodel's gradient solver with the settings of its evaluation."""
    import torch  # pyright: ignore[reportMissingImports]

    solvers = their_solvers()

    def run(steps: int) -> None:
        solver = solvers.GradientSolver(
            case.theirs,
            n_steps=steps,
            num_samples=GRADIENT_SAMPLES,
            optimizer_cls=torch.optim.AdamW,
            optimizer_kwargs={"lr": 0.1},
        )
        configure(solver, horizon).solve(dict(case.info))

    return extended(run, 1, 4, STEPS)


def their_solvers() -> Any:
    """The released package's module of solvers."""
    try:
        from stable_worldmodel import solver  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise app.UsageError(
            f"stable-worldmodel cannot be imported here ({error}). In an environment of its own: "
            "pip install torch torchvision stable-worldmodel opencv-python-headless pygame "
            "'pymunk>=7' shapely transformers jax optax absl-py pandas scipy tqdm safetensors; "
            "then run this from the repository's root."
        ) from error
    return solver


def textbook(loss: str, frames: int, sync_frames: int) -> Callable[[Case, int], Record]:
    """GRASP in PyTorch; `loss` and the frames are those of `experiments.speed.textbook`."""

    def timed(case: Case, horizon: int) -> Record:
        import torch  # pyright: ignore[reportMissingImports]

        from experiments.speed import textbook as book

        depth, heads = case.config.depth, case.config.heads
        model = book.predictor(case.ours.weights, depth, heads)
        settings = book.Settings(lifted_frames=frames, sync_frames=sync_frames)
        actions = torch.zeros(horizon, A)
        search = book.begin(case.start, case.goal, actions, settings)
        given = (model, search, case.start, case.goal, settings, getattr(book, loss))

        def lifted(times: int) -> None:
            for _ in range(times):
                book.lifted_iteration(*given)

        moved = actions.clone().requires_grad_()
        adam = torch.optim.Adam([moved], lr=settings.sync_rate)

        def sync(times: int) -> None:
            for _ in range(times):
                book.sync_step(model, moved, adam, case.start, case.goal, settings)

        one, two = extended(lifted, 4, 24, ITERATIONS), extended(sync, 2, 10, SYNCS * SYNC_STEPS)
        return {
            "seconds": one["seconds"] + two["seconds"],
            "sync_seconds": two["seconds"],
            "measured": f"{one['measured']} lifted, {two['measured']} sync",
        }

    return timed


def ours(
    planner: Callable[[int], Any], window: int, some: int, full: int
) -> Callable[[Case, int], Record]:
    """A planner of ours behind `PlannerSolver`, over `some` iterations; the first call compiles."""

    def timed(case: Case, horizon: int) -> Record:
        from grasp_jax.integrations.stable_worldmodel import PlannerSolver

        solver = PlannerSolver(case.ours, planner=planner(some), window=window)
        configure(solver, horizon)
        first = seconds(lambda: solver.solve(case.info))
        took = seconds(lambda: solver.solve(case.info))
        measured = "all" if some == full else f"{some} of {full}"
        seconds_in_full = took * full / some
        return {
            "seconds": seconds_in_full,
            "measured": measured,
            "compile_seconds": first - took,
        }

    return timed


def planners() -> dict[str, tuple[Callable[[Case, int], Record], tuple[int, ...]]]:
    """What is timed, and at which horizons."""
    import optax

    from grasp_jax import CEM, GD, GRASP, MultiStart

    def grasp(iterations: int) -> GRASP:
        return dataclasses.replace(GRASP(), iterations=iterations)

    def cem(iterations: int) -> CEM:
        return CEM(num_samples=SAMPLES, num_elites=30, iterations=iterations)

    def gradient(iterations: int) -> MultiStart:
        one = GD(learning_rate=0.1, iterations=iterations, optimizer=optax.adamw)
        return MultiStart(one, num_starts=GRADIENT_SAMPLES, start_std=1.0)

    some = STEPS // 3

    return {
        "GRASP": (ours(grasp, 3, ITERATIONS, ITERATIONS), (15,)),
        "GRASP-h1": (ours(grasp, 1, ITERATIONS, ITERATIONS), (15,)),
        "CEM": (ours(cem, 3, some, STEPS), (5, 15)),
        "GD": (ours(gradient, 3, some, STEPS), (5, 15)),
        "textbook-loop": (textbook("loop_loss", 3, 3), (15,)),
        "textbook-loop-h1": (textbook("loop_loss", 1, 1), (15,)),
        "textbook-loop-author": (textbook("loop_loss", 1, 3), (15,)),
        "textbook-batched": (textbook("batched_loss", 3, 3), (15,)),
        "swm-CEM": (their_cem, (5, 15)),
        "swm-GD": (their_gradient, (5, 15)),
    }
