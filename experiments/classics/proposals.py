r"""What samplers should do with proposals: start from the cheapest, or hold all among the samples.

    python -m experiments.classics.proposals --output=experiments/results/classics_proposals

Sixteen plans for other goals are proposed to samplers at their defaults, in four ways: not at all,
the cheapest as the start (`grasp_jax.Proposed`), all of them among the samples of every iteration,
and both. One JSON line per goal; resumes.
"""

import dataclasses
import functools
import itertools
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from absl import app, flags

import grasp_jax
from experiments.classics import runner
from experiments.classics.tables import proposals as table
from experiments.classics.tasks import all_tasks
from experiments.harness.flags import begin
from experiments.harness.log import Record, ResultLog
from experiments.harness.progress import progress
from experiments.harness.workers import run_tasks
from grasp_jax import CEM, ICEM, MPPI, Proposed, Scaled
from grasp_jax.planner import Planner, StepContext, StepInfo
from grasp_jax.planners.sampling import Sampler, SamplingState

TASKS = ("arm", "unicycle", "acrobot", "pushing")
SAMPLERS = {"CEM": CEM(), "iCEM": ICEM(), "MPPI": MPPI()}
NUM_PROPOSALS, PROPOSED_SEED = 16, 7


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class MixedIn(Planner):
    """A sampler that holds actions `[n, T, A]` among the samples of every iteration."""

    sampler: Sampler
    actions_held: jax.Array

    @property
    def iterations(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Those of the sampler."""
        return self.sampler.iterations

    evaluates_guess = True

    def init(self, problem: grasp_jax.Problem, key: jax.Array) -> SamplingState:
        """The sampler's, and the actions held."""
        return self._holding(problem, self.sampler.init(problem, key))

    def step(
        self, problem: grasp_jax.Problem, state: SamplingState, context: StepContext
    ) -> tuple[SamplingState, StepInfo]:
        """One iteration of the sampler."""
        state, found = self.sampler.step(problem, state, context)
        return self._holding(problem, state), found

    def actions(self, problem: grasp_jax.Problem, state: SamplingState) -> jax.Array:
        """The mean `[T, A]`."""
        return self.sampler.actions(problem, state)

    def _holding(self, problem: grasp_jax.Problem, state: SamplingState) -> SamplingState:
        held = [problem.clip(self.actions_held)]
        own = [] if state.kept is None else [state.kept[: getattr(self.sampler, "num_kept", 0)]]
        return state._replace(kept=jnp.concatenate(own + held))


WAYS: dict[str, Callable[[Sampler, jax.Array], Planner]] = {
    "alone": lambda sampler, actions: sampler,
    "cheapest": Proposed,
    "among the samples": MixedIn,
    "both": lambda sampler, actions: Proposed(MixedIn(sampler, actions), actions),
}


@dataclasses.dataclass(frozen=True)
class Cell:
    """A sampler on a task, in one of the ways."""

    task: str
    sampler: str
    way: str
    num_goals: int

    def identity(self, goal: int) -> Record:
        """What names a record."""
        return {
            "environment": self.task,
            "planner": f"{self.sampler}, {self.way}",
            "settings": runner.settings_of(SAMPLERS[self.sampler]),
            "seed": 0,
            "goal": goal,
        }


def run_cell(cell: Cell) -> Iterator[list[Record]]:
    """Plans all goals; yields their records."""
    task = all_tasks()[cell.task]

    @functools.partial(jax.jit, static_argnums=(0, 1))
    def plans(seed: int, count: int, planner: Planner) -> Any:
        starts, goals = task.sample_batch(count, seed)
        plan, found = runner.plan_goals(task, planner, starts, goals, jax.random.key(seed))
        return plan.actions, found["success"]

    proposed, _ = plans(PROPOSED_SEED, NUM_PROPOSALS, Scaled(ICEM()))
    _, success = plans(0, cell.num_goals, WAYS[cell.way](SAMPLERS[cell.sampler], proposed))
    yield [{**cell.identity(i), "success": bool(s)} for i, s in enumerate(success)]


def define_flags() -> None:
    """Defines the flags; not on import, where they would clash with those of other binaries."""
    flags.DEFINE_integer("goals", 100, "Goals per task.", lower_bound=1)
    flags.DEFINE_integer("workers", 2, "Processes, one core each.", lower_bound=1)
    flags.DEFINE_string("output", "runs/classics_proposals", "Folder for results.")


def main(argv: list[str]) -> None:
    """Plans and prints."""
    begin(argv)
    given = flags.FLAGS
    folder = pathlib.Path(given.output)
    log = ResultLog(folder / "results.jsonl", runner.KEY_FIELDS)
    cells = [Cell(*names, given.goals) for names in itertools.product(TASKS, SAMPLERS, WAYS)]
    todo = [c for c in cells if not all(log.done(**c.identity(i)) for i in range(given.goals))]
    with progress(len(todo), "cells") as bar:
        for records in run_tasks(run_cell, todo, given.workers, compile_fast=True):
            for record in records:
                log.append(record)
            bar(1, f"{records[0]['planner']}, {records[0]['environment']}")
    print(table(folder))


if __name__ == "__main__":
    define_flags()
    app.run(main)
