"""Three searches that fail on different problems, in turn and in the problem's own units."""

from grasp_jax._fields import as_count
from grasp_jax.planners.chain import Chain
from grasp_jax.planners.gradient import GD
from grasp_jax.planners.hops import Hops
from grasp_jax.planners.latco import LatCo
from grasp_jax.planners.multi_start import MultiStart
from grasp_jax.planners.sampling import ICEM
from grasp_jax.planners.scaled import Scaled
from grasp_jax.schedules import sawtooth_schedule


def portfolio(*, effort: int = 1) -> Scaled:
    """The planner for a problem of which nothing is known: no rates, no units, one number.

    Ours. Each search goes on from the best plan so far; all of them count in the problem's own
    units, see `Scaled`.

      1. `Hops` of gradient descent from eight starts, its rate falling within each round. For
         everything smooth.
      2. `LatCo`, where more than a thousandth of the guess's cost is left: states and actions
         together, with the model's state gradients, from the guess anew. For unstable systems and
         long products of Jacobians, where a rollout's gradient says nothing. Not for the others:
         through a learned model it also finds plans that please the model alone.
      3. `ICEM`: sampling. For contact and other places without a slope, and to polish.

    At effort 1 it costs about 12,400 `T` model evaluations, three quarters of them `ICEM`'s, and
    2,900 `T` derivatives; `restarted_grasp()` costs 2,300 `T` and 2,200 `T`. With a `target_cost`
    it stops at the first search that is good enough.

    Args:
      effort: Multiplies the iterations of every part.

    Raises:
      TypeError, ValueError: The effort is no positive integer.

    >>> import grasp_jax
    >>> grasp_jax.portfolio(effort=2).iterations
    2136
    """
    effort = as_count(effort, "portfolio: effort")
    descent = GD(learning_rate=sawtooth_schedule(0.1, 0.01, period=30), iterations=30)
    hops = Hops(planner=descent, iterations=8 * effort)
    return Scaled(
        Chain(
            MultiStart(hops, num_starts=8, start_std=0.5, resample_every=1),
            LatCo(iterations=1000 * effort),
            ICEM(num_samples=150, num_elites=15, iterations=60 * effort, std=0.5),
            fallback=1,
        )
    )
