"""Iterated local search: noise on the best plan, then any planner, in rounds."""

import dataclasses

import jax

from grasp_jax import search
from grasp_jax._fields import Scalar, count, number, process
from grasp_jax.noise import AR1, Noise, add_noise, split_key
from grasp_jax.planner import Planner, StepContext, StepInfo, require_planner
from grasp_jax.problem import Problem


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Hops(Planner):
    """Iterated local search: noise on the best plan's actions, then a serial planner, in rounds.

    Known as basin hopping (Wales and Doye 1997). It is restarted GRASP without the lifted phase.

    Attributes:
      planner: Runs whole in every round.
      iterations: Rounds.
      std: Standard deviation of the noise, `[]` or what broadcasts to `[T, A]`; None for none.
      noise: The process of the noise over time.
    """

    planner: Planner
    iterations: int = count(8)
    std: Scalar | None = number(0.3, low=0, like="actions", optional=True)
    noise: Noise = process(AR1())

    def check(self, problem: Problem) -> None:
        """Raises for settings that do not fit a problem; asks the planner too."""
        super().check(problem)
        require_planner(self.planner, "Hops.planner")
        self.planner.check(problem)

    def init(self, problem: Problem, key: jax.Array) -> jax.Array:
        """The starting guess `[T, A]`."""
        del key
        return problem.init_actions

    def step(
        self, problem: Problem, state: jax.Array, context: StepContext
    ) -> tuple[jax.Array, StepInfo]:
        """One round; the state is what the planner found in it."""
        del state
        # Keys are drawn as GRASP's are, so that its sync alone makes the same plans.
        _, sync_key = split_key(context.key, 2)
        noise_key, search_key, _ = split_key(sync_key, 3)
        actions = add_noise(
            context.best_actions, self.std, problem.action_noise(self.noise), noise_key
        )
        found, info = search.run_inside_step(
            problem.starting_from(actions), self.planner, search_key
        )
        return found.best_actions, info

    def actions(self, problem: Problem, state: jax.Array) -> jax.Array:
        """The last round's best actions `[T, A]`."""
        del problem
        return state
