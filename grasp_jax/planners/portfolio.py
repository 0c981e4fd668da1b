"""Searches that fail on different problems, in turn and in the problem's own units."""

from grasp_jax._fields import Scalar, Scale, as_count
from grasp_jax.planners.chain import Chain
from grasp_jax.planners.gradient import GD
from grasp_jax.planners.hops import Hops
from grasp_jax.planners.latco import LatCo
from grasp_jax.planners.multi_start import MultiStart
from grasp_jax.planners.sampling import ICEM
from grasp_jax.planners.scaled import Scaled
from grasp_jax.schedules import sawtooth_schedule


def portfolio(
    *, effort: int = 1, action_scale: Scalar | None = None, state_scale: Scale | None = None
) -> Scaled:
    """The planner for a problem of which nothing is known: no rates, no units, one number.

    Ours. Four searches in turn, which all count in the problem's own units, see `Scaled`; the best
    plan of any of them wins.

      1. `Hops` of gradient descent from eight starts, its rate falling within each round. For
         everything smooth.
      2. `ICEM`: sampling. For contact and other places without a slope.
      3. `LatCo`: states and actions together, with the model's state gradients. For unstable
         systems and long products of Jacobians, where a rollout's gradient says nothing.
      4. The first again, from the best plan so far.

    The second and the third begin at the guess anew, and only where more than a thousandth of its
    cost is left, or where its cost is not positive, as with rewards: what is solved is left alone,
    because LatCo also finds plans that please a learned model and not the world.

    At effort 1 it costs 4,000 `T` model evaluations and 3,800 `T` derivatives where gradients solve
    the problem, at most 14,400 `T` and 4,800 `T` elsewhere (and where goals of a batch wait for
    each other); `restarted_grasp()` costs 2,300 `T` and 2,200 `T`. With a `target_cost` it stops at
    the first search that is good enough.

    Args:
      effort: Multiplies the iterations of every part.
      action_scale: What an action counts in, see `Scaled`; by default half its range, or what the
        model says by `training_action_std`. A learned model whose bounds are far wider than its
        data needs one of the two: otherwise plans go where it was never trained.
      state_scale: What the virtual states of LatCo count in, see `Scaled`; by default read off the
        problem.

    Raises:
      TypeError, ValueError: The effort is no positive integer.

    >>> import grasp_jax
    >>> grasp_jax.portfolio(effort=2).iterations
    2152
    """
    effort = as_count(effort, "portfolio: effort")
    descent = GD(learning_rate=sawtooth_schedule(0.1, 0.01, period=30), iterations=30)
    hops = Hops(planner=descent, iterations=8 * effort)
    starts = MultiStart(hops, num_starts=8, start_std=0.5, resample_every=1)
    return Scaled(
        Chain(
            starts,
            ICEM(num_samples=150, num_elites=15, iterations=60 * effort, std=0.5),
            LatCo(iterations=1000 * effort),
            turns=(0, 1, 2, 0),
            fallbacks=(1, 2),
        ),
        action_scale=action_scale,
        state_scale=state_scale,
    )
