"""Planners that sample action sequences and never differentiate the model: CEM, iCEM, MPPI.

All three draw `N` sequences around a mean, roll each out, and move the mean towards the cheap
ones. Samples whose cost is not finite rank last and weigh nothing. A mean is clipped as samples
are: an average of numbers on a bound may round past it.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from grasp_jax import _tree
from grasp_jax._settings import (
    Scalar,
    require,
    require_count,
    require_noise,
    require_number,
    require_range,
    static,
)
from grasp_jax.noise import Colored, Noise, White
from grasp_jax.planners.base import Progress, Proposal, proposal
from grasp_jax.problem import Problem
from grasp_jax.rollout import rollout_cost


class SamplingState(NamedTuple):
    """`mean` and `std`, `[T, A]`; `kept` `[n, T, A]`, good samples carried over (iCEM)."""

    mean: jax.Array
    std: jax.Array
    kept: jax.Array


class Scored(NamedTuple):
    """`samples` `[N, T, A]`, `costs` `[N]` (`inf` where broken), and whether all were finite."""

    samples: jax.Array
    costs: jax.Array
    finite: jax.Array


def _draw(
    problem: Problem, noise: Noise, key: jax.Array, state: SamplingState, count: int
) -> jax.Array:
    """`count` sequences `[count, T, A]` around the mean; sample `n` depends on `(key, n)` alone."""
    keys = jax.vmap(lambda n: jax.random.fold_in(key, n))(jnp.arange(count))
    shapes = jax.vmap(lambda k: noise(k, state.mean))(keys)
    return problem.clip(state.mean + state.std * shapes)


def _score(problem: Problem, samples: jax.Array) -> Scored:
    samples = problem.split(samples, "samples")
    costs = jax.vmap(lambda a: rollout_cost(problem, a))(samples)
    finite = jnp.isfinite(costs)
    return Scored(samples, jnp.where(finite, costs, jnp.inf), jnp.all(finite))


def _elites(scored: Scored, count: int) -> jax.Array:
    """Indices `[count]` of the cheapest samples, the cheapest first."""
    # A sort, because XLA gathers a batch of searches from all devices for a top_k.
    return jnp.argsort(scored.costs)[:count]


def _best(problem: Problem, scored: Scored) -> Proposal:
    """The cheapest sample."""
    index = jnp.argmin(scored.costs)
    evaluations = scored.costs.shape[0] * problem.horizon
    return proposal(scored.samples[index], scored.costs[index], scored.finite, evaluations)


def _weighted_moments(
    samples: jax.Array, weights: jax.Array, state: SamplingState
) -> tuple[jax.Array, jax.Array]:
    """Mean and standard deviation `[T, A]` under `[N]` weights; the old ones if all are zero."""
    # Half precision has neither the digits of a mean nor the range of a square.
    wide = samples.astype(_tree.cost_dtype(samples.dtype))
    weights = weights.astype(wide.dtype)
    total = jnp.sum(weights)
    share = (weights / jnp.where(total > 0, total, 1))[:, None, None]
    mean = jnp.sum(share * wide, axis=0)
    std = jnp.sqrt(jnp.sum(share * jnp.square(wide - mean), axis=0))
    mean, std = mean.astype(samples.dtype), std.astype(samples.dtype)
    return jnp.where(total > 0, mean, state.mean), jnp.where(total > 0, std, state.std)


def _initial(problem: Problem, std: Scalar, kept: int = 0) -> SamplingState:
    actions = problem.actions
    spread = jnp.broadcast_to(jnp.asarray(std, actions.dtype), actions.shape)
    return SamplingState(actions, spread, jnp.broadcast_to(actions, (kept, *actions.shape)))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class CEM:
    """The cross-entropy method (De Boer et al. 2005), with DINO-WM's settings as defaults.

    Attributes:
      samples: `N` sequences per iteration; each costs `T` model calls, in series.
      elites: How many of the cheapest refit mean and standard deviation.
      iterations: Refits.
      std: First standard deviation, `[]` or `[A]`, in action units.
      min_std: Floor of the standard deviation; 0 for none.
      noise: Shape of the samples over time: white, or time-correlated.
    """

    samples: int = static(300)
    elites: int = static(30)
    iterations: int = static(30)
    std: Scalar = 1.0
    min_std: Scalar = 0.0
    noise: Noise = White()

    evaluates_guess = True  # the mean is one of the samples

    def __post_init__(self) -> None:
        require_range(self, "std", 0)

    def check(self, problem: Problem) -> None:
        """Raises for fields that cannot work."""
        _require_population(self, problem)
        require_count(self, "elites")
        require_number(self, "min_std", problem.actions.shape)
        _require_elites(self.elites, self.samples, "CEM.elites")

    def init(self, problem: Problem, key: jax.Array) -> SamplingState:
        """Mean at the starting guess."""
        del key
        return _initial(problem, self.std)

    def step(
        self, problem: Problem, state: SamplingState, progress: Progress
    ) -> tuple[SamplingState, Proposal]:
        """Samples, keeps the elites, refits. The mean itself is one of the samples."""
        samples = _draw(problem, self.noise, progress.key, state, self.samples)
        samples = samples.at[0].set(state.mean)
        scored = _score(problem, samples)
        elites = _elites(scored, self.elites)
        weights = jnp.isfinite(scored.costs[elites])
        mean, std = _weighted_moments(samples[elites], weights, state)
        std = jnp.maximum(std, self.min_std).astype(std.dtype)
        return SamplingState(problem.clip(mean), std, state.kept), _best(problem, scored)

    def actions(self, problem: Problem, state: SamplingState) -> jax.Array:
        """The mean `[T, A]`."""
        del problem
        return state.mean


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ICEM:
    """Improved CEM (Pinneri et al. 2020): coloured noise, kept elites, a moving mean.

    The paper also shrinks `N` over the iterations; here `N` is constant, as shapes are static.

    Attributes:
      samples: `N` sequences per iteration, the kept ones not counted.
      elites: How many of the cheapest refit mean and standard deviation.
      kept: How many of the elites are evaluated again in the next iteration.
      iterations: Refits.
      std: First standard deviation, `[]` or `[A]`, in action units.
      min_std: Floor of the standard deviation.
      momentum: `α`, share of the old mean and deviation kept in a refit.
      noise: Shape of the samples over time; `1/f^β` noise with `β = 2` by default.
    """

    samples: int = static(300)
    elites: int = static(30)
    kept: int = static(5)
    iterations: int = static(30)
    std: Scalar = 1.0
    min_std: Scalar = 0.0
    momentum: Scalar = 0.1
    noise: Noise = Colored()

    evaluates_guess = True  # the mean is one of the samples

    def __post_init__(self) -> None:
        require_range(self, "std", 0)
        require_range(self, "momentum", 0, 1)

    def check(self, problem: Problem) -> None:
        """Raises for fields that cannot work."""
        _require_population(self, problem)
        require_count(self, "elites")
        require_number(self, "min_std", problem.actions.shape)
        require_number(self, "momentum")
        require_count(self, "kept", 0)
        _require_elites(self.elites, self.samples, "ICEM.elites")
        require(
            self.kept <= self.elites,
            f"ICEM.kept is {self.kept} but only ICEM.elites={self.elites} can be kept.",
        )

    def init(self, problem: Problem, key: jax.Array) -> SamplingState:
        """Mean at the starting guess, which also fills the kept samples."""
        del key
        return _initial(problem, self.std, self.kept)

    def step(
        self, problem: Problem, state: SamplingState, progress: Progress
    ) -> tuple[SamplingState, Proposal]:
        """Samples beside the kept elites, refits with momentum."""
        samples = _draw(problem, self.noise, progress.key, state, self.samples)
        samples = jnp.concatenate([samples.at[0].set(state.mean), state.kept])
        scored = _score(problem, samples)
        elites = _elites(scored, self.elites)
        weights = jnp.isfinite(scored.costs[elites])
        mean, std = _weighted_moments(samples[elites], weights, state)
        alpha = jnp.asarray(self.momentum, mean.dtype)
        mean = alpha * state.mean + (1 - alpha) * mean
        std = jnp.maximum(alpha * state.std + (1 - alpha) * std, self.min_std).astype(std.dtype)
        kept = samples[elites[: self.kept]]
        return SamplingState(problem.clip(mean), std, kept), _best(problem, scored)

    def actions(self, problem: Problem, state: SamplingState) -> jax.Array:
        """The mean `[T, A]`."""
        del problem
        return state.mean


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class MPPI:
    """Model predictive path integral control (Williams et al. 2017).

    The mean moves to the average of all samples, weighted by `exp(-(c - c_min) / (τ · spread))`,
    where `spread` is the root mean square of the costs' excess over the best, so that `τ` does not
    depend on the units of the objective. An excess above ten times the median one is left out of
    it: a sample that diverges is as harmless as one that is not finite.

    Attributes:
      samples: `N` sequences per iteration.
      iterations: Updates of the mean.
      std: Standard deviation of the samples, `[]` or `[A]`; constant over iterations.
      temperature: `τ`: small follows the best sample, large averages.
      noise: Shape of the samples over time.
    """

    samples: int = static(300)
    iterations: int = static(30)
    std: Scalar = 0.5
    temperature: Scalar = 0.1
    noise: Noise = White()

    evaluates_guess = True  # the mean is one of the samples

    def __post_init__(self) -> None:
        require_range(self, "std", 0)
        require_range(self, "temperature", 0)

    def check(self, problem: Problem) -> None:
        """Raises for fields that cannot work."""
        _require_population(self, problem)
        require_number(self, "temperature")

    def init(self, problem: Problem, key: jax.Array) -> SamplingState:
        """Mean at the starting guess."""
        del key
        return _initial(problem, self.std)

    def step(
        self, problem: Problem, state: SamplingState, progress: Progress
    ) -> tuple[SamplingState, Proposal]:
        """Samples and averages. The mean itself is one of the samples."""
        samples = _draw(problem, self.noise, progress.key, state, self.samples)
        samples = samples.at[0].set(state.mean)
        scored = _score(problem, samples)
        found = _best(problem, scored)
        valid = jnp.isfinite(scored.costs)
        excess = jnp.where(valid, scored.costs - jnp.min(scored.costs), 0)
        middle = jnp.nanmedian(jnp.where(valid, excess, jnp.nan))
        counted = valid & ((excess <= 10 * middle) | (middle == 0))
        total = jnp.sum(jnp.where(counted, jnp.square(excess), 0))
        spread = jnp.sqrt(total / jnp.maximum(jnp.sum(counted), 1))
        scale = jnp.maximum(self.temperature * spread, jnp.finfo(scored.costs.dtype).tiny)
        weights = jnp.where(valid, jnp.exp(-excess / scale), 0)
        mean, _ = _weighted_moments(samples, weights, state)
        return SamplingState(problem.clip(mean), state.std, state.kept), found

    def actions(self, problem: Problem, state: SamplingState) -> jax.Array:
        """The mean `[T, A]`."""
        del problem
        return state.mean


def _require_population(planner: Any, problem: Problem) -> None:
    """What CEM, iCEM and MPPI ask alike; one sample would be the mean alone, which never moves."""
    require_count(planner, "samples", 2)
    require_count(planner, "iterations")
    require_number(planner, "std", problem.actions.shape)
    require_noise(planner, problem.actions)


def _require_elites(elites: int, samples: int, name: str) -> None:
    require(
        elites <= samples,
        f"{name} is {elites} but only {samples} sequences are sampled per iteration. Raise "
        "samples or lower elites (a tenth of samples is usual).",
    )
