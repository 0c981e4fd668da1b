"""Planners that sample action sequences and never differentiate the model: CEM, iCEM, MPPI.

All three draw `N` sequences around a mean, roll each out, and move the mean towards the cheap
ones. Samples whose cost is not finite rank last and weigh nothing. A mean is clipped as samples
are: an average of numbers on a bound may round past it.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from grasp_jax import _tree
from grasp_jax._fields import Scalar, count, number, process, require
from grasp_jax.noise import Colored, Noise, White
from grasp_jax.planner import Planner, StepContext, StepInfo
from grasp_jax.problem import Problem
from grasp_jax.rollout import rollout_cost


class SamplingState(NamedTuple):
    """`mean` and `std`, `[T, A]`; `kept` `[n, T, A]`, good samples carried over, or None."""

    mean: jax.Array
    std: jax.Array
    kept: jax.Array | None = None


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
    noise = problem.action_noise(noise)
    shapes = jax.vmap(lambda k: noise(k, state.mean))(keys)
    return problem.clip(state.mean + state.std * shapes)


def _elites(scored: Scored, count: int) -> jax.Array:
    """Indices `[count]` of the cheapest samples, the cheapest first."""
    # A sort, because XLA gathers a batch of searches from all devices for a top_k.
    return jnp.argsort(scored.costs)[:count]


def _best(problem: Problem, scored: Scored) -> StepInfo:
    """The cheapest sample."""
    index = jnp.argmin(scored.costs)
    evals = scored.costs.shape[0] * problem.max_horizon
    return StepInfo.of(scored.samples[index], scored.costs[index], scored.finite, evals)


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


class Sampler(Planner):
    """A planner whose state is a `SamplingState`; its mean starts at the starting guess."""

    num_samples: int
    std: Scalar
    noise: Noise
    evaluates_guess = True  # the mean is one of the samples

    def check(self, problem: Problem) -> None:
        """Raises for settings that do not fit a problem; one sample would be the mean alone."""
        super().check(problem)
        samples = getattr(self, "num_samples", 2)
        for field in ("num_elites", "num_kept"):
            few = getattr(self, field, 0)
            limit = samples if field == "num_elites" else getattr(self, "num_elites", 0)
            what = "sequences are sampled per iteration" if field == "num_elites" else "are elites"
            require(
                few <= limit,
                f"{type(self).__name__}.{field} is {few} but only {limit} {what}. Raise that "
                "number or lower this one (a tenth of the samples is usual).",
            )

    def init(self, problem: Problem, key: jax.Array) -> SamplingState:
        """Mean at the starting guess, which also fills the kept samples."""
        del key
        actions, kept = problem.init_actions, getattr(self, "num_kept", 0)
        spread = jnp.broadcast_to(jnp.asarray(self.std, actions.dtype), actions.shape)
        held = jnp.broadcast_to(actions, (kept, *actions.shape)) if kept else None
        return SamplingState(actions, spread, held)

    def actions(self, problem: Problem, state: SamplingState) -> jax.Array:
        """The mean `[T, A]`."""
        del problem
        return state.mean

    def _score(self, problem: Problem, state: SamplingState, key: jax.Array) -> Scored:
        """Samples and their costs; the mean itself is one of them, and the kept ones follow."""
        samples = _draw(problem, self.noise, key, state, self.num_samples)
        samples = samples.at[0].set(state.mean)
        if state.kept is not None:
            samples = jnp.concatenate([samples, state.kept])
        samples = problem.split(samples, "samples")
        costs = jax.vmap(lambda a: rollout_cost(problem, a))(samples)
        finite = jnp.isfinite(costs)
        return Scored(samples, jnp.where(finite, costs, jnp.inf), jnp.all(finite))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class CEM(Sampler):
    """The cross-entropy method (De Boer et al. 2005), with DINO-WM's settings as defaults.

    Attributes:
      num_samples: `N` sequences per iteration; each costs `T` model calls, in series.
      num_elites: How many of the cheapest refit mean and standard deviation.
      iterations: Refits.
      std: First standard deviation, `[]` or `[A]`, in action units.
      min_std: Floor of the standard deviation; 0 for none.
      noise: The process of the samples over time: white, or time-correlated.
    """

    num_samples: int = count(300, least=2)
    num_elites: int = count(30)
    iterations: int = count(30)
    std: Scalar = number(1.0, low=0, like="actions")
    min_std: Scalar = number(0.0, low=0, like="actions")
    noise: Noise = process(White())

    def step(
        self, problem: Problem, state: SamplingState, context: StepContext
    ) -> tuple[SamplingState, StepInfo]:
        """Samples, keeps the elites, refits."""
        scored = self._score(problem, state, context.key)
        elites = _elites(scored, self.num_elites)
        weights = jnp.isfinite(scored.costs[elites])
        mean, std = _weighted_moments(scored.samples[elites], weights, state)
        std = jnp.maximum(std, self.min_std).astype(std.dtype)
        return SamplingState(problem.clip(mean), std, None), _best(problem, scored)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ICEM(Sampler):
    """Improved CEM (Pinneri et al. 2020): colored noise, kept elites, a moving mean.

    The paper also shrinks `N` over the iterations; here `N` is constant, as shapes are static.

    Attributes:
      num_samples: `N` sequences per iteration, the kept ones not counted.
      num_elites: How many of the cheapest refit mean and standard deviation.
      num_kept: How many of the elites are evaluated again in the next iteration.
      iterations: Refits.
      std: First standard deviation, `[]` or `[A]`, in action units.
      min_std: Floor of the standard deviation.
      momentum: `α`, share of the old mean and deviation kept in a refit.
      noise: The process of the samples over time; `1/f^β` noise with `β = 2` by default.
    """

    num_samples: int = count(300, least=2)
    num_elites: int = count(30)
    num_kept: int = count(5, least=0)
    iterations: int = count(30)
    std: Scalar = number(1.0, low=0, like="actions")
    min_std: Scalar = number(0.0, low=0, like="actions")
    momentum: Scalar = number(0.1, low=0, high=1)
    noise: Noise = process(Colored())

    def step(
        self, problem: Problem, state: SamplingState, context: StepContext
    ) -> tuple[SamplingState, StepInfo]:
        """Samples beside the kept elites, refits with momentum."""
        scored = self._score(problem, state, context.key)
        elites = _elites(scored, self.num_elites)
        weights = jnp.isfinite(scored.costs[elites])
        mean, std = _weighted_moments(scored.samples[elites], weights, state)
        alpha = jnp.asarray(self.momentum, mean.dtype)
        mean = alpha * state.mean + (1 - alpha) * mean
        std = jnp.maximum(alpha * state.std + (1 - alpha) * std, self.min_std).astype(std.dtype)
        kept = scored.samples[elites[: self.num_kept]] if self.num_kept else None
        return SamplingState(problem.clip(mean), std, kept), _best(problem, scored)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class MPPI(Sampler):
    """Model predictive path integral control (Williams et al. 2017).

    The mean moves to the average of all samples, weighted by `exp(-(c - c_min) / (τ · spread))`,
    where `spread` is the root mean square of the costs' excess over the best, so that `τ` does not
    depend on the units of the objective. An excess above ten times the median one is left out of
    it: a sample that diverges is as harmless as one that is not finite.

    Attributes:
      num_samples: `N` sequences per iteration.
      iterations: Updates of the mean.
      std: Standard deviation of the samples, `[]` or `[A]`; constant over iterations.
      temperature: `τ`: small follows the best sample, large averages.
      noise: The process of the samples over time.
    """

    num_samples: int = count(300, least=2)
    iterations: int = count(30)
    std: Scalar = number(0.5, low=0, like="actions")
    temperature: Scalar = number(0.1, low=0)
    noise: Noise = process(White())

    def step(
        self, problem: Problem, state: SamplingState, context: StepContext
    ) -> tuple[SamplingState, StepInfo]:
        """Samples and averages."""
        scored = self._score(problem, state, context.key)
        valid = jnp.isfinite(scored.costs)
        excess = jnp.where(valid, scored.costs - jnp.min(scored.costs), 0)
        middle = jnp.nanmedian(jnp.where(valid, excess, jnp.nan))
        counted = valid & ((excess <= 10 * middle) | (middle == 0))
        total = jnp.sum(jnp.where(counted, jnp.square(excess), 0))
        spread = jnp.sqrt(total / jnp.maximum(jnp.sum(counted), 1))
        scale = jnp.maximum(self.temperature * spread, jnp.finfo(scored.costs.dtype).tiny)
        weights = jnp.where(valid, jnp.exp(-excess / scale), 0)
        mean, _ = _weighted_moments(scored.samples, weights, state)
        mean = problem.clip(mean)
        return SamplingState(mean, state.std, None), _best(problem, scored)
