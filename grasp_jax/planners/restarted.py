"""GRASP from several starts, restarted after every sync: what our tables call GRASP."""

import dataclasses

from grasp_jax._settings import Scalar, require_int
from grasp_jax.noise import Correlated, Noise
from grasp_jax.paths import Rollout, Scale
from grasp_jax.planners.base import Planner
from grasp_jax.planners.compose import MultiStart
from grasp_jax.planners.gradient import GD
from grasp_jax.planners.grasp import GRASP

_SYNC = GD(0.1, iterations=30)
_SMOOTH = Correlated(0.9)


def restarted_grasp(
    starts: int = 8,
    cycles: int = 8,
    *,
    lifted: int = 4,
    state_noise: Scale = 0.1,
    action_noise: Scalar | None = 0.3,
    start_noise: Scalar = 0.5,
    state_rate: Scale = 0.03,
    action_rate: Scalar = 0.1,
    sync: Planner = _SYNC,
    exchange: int | None = 1,
    noise: Noise = _SMOOTH,
) -> MultiStart:
    """Searches that restart from noise after every sync, and help each other.

    Ours, not the paper's. In each cycle time-correlated noise moves the virtual states off the
    rollout of the search's best plan, the actions follow them in a few lifted iterations (no dense
    goal term, nearly frozen states), noise moves the actions, and the sync makes a true rollout of
    them. Searches that fall behind go on from copies of those ahead.

    The noises have the units of states and actions: about as much as two good plans differ.

    Args:
      starts: Searches side by side, the first from the starting guess itself.
      cycles: Syncs of each.
      lifted: Lifted iterations before each sync. With 0 nothing is lifted: noise on the actions and
        the sync alone, which on Push-T solve as many goals in four fifths of the time; rates and
        `state_noise` then do nothing.
      state_noise: Standard deviation on the virtual states, for each cycle anew: a number, or a
        pytree like the state.
      action_noise: Standard deviation on the actions before each sync, or None.
      start_noise: Standard deviation on the first actions of all searches but one.
      state_rate: `η_s`, of Adam: a number, or a pytree like the state.
      action_rate: `η_a`, of Adam.
      sync: The serial planner; by default `GD(0.1, iterations=30)`.
      exchange: Cycles after which the worse half goes on from copies of the better half, or None.
      noise: Shape of the noise on the actions over time; by default `Correlated(0.9)`.

    Raises:
      TypeError, ValueError: A count cannot work; the other arguments are checked by `plan`.
    """
    for name, count in (("starts", starts), ("cycles", cycles), ("exchange", exchange)):
        if count is not None:
            require_int(count, f"restarted_grasp: {name}")
    require_int(lifted, "restarted_grasp: lifted", minimum=0)
    every = max(lifted, 1)
    search = GRASP(
        iterations=every * cycles,
        state_noise=None,
        sync=sync,
        sync_every=every,
        sync_noise=action_noise,
        sync_noise_shape=noise,
    )
    if lifted:
        path = Rollout(state_noise, Correlated(0.8))
        rates = {"state_rate": state_rate, "action_rate": action_rate, "goal_weight": 0.0}
        search = dataclasses.replace(search, path=path, restart=path, **rates)
    else:
        # Such an iteration moves nothing, at the price of one evaluation of the terms.
        rates = {"state_rate": 0.0, "action_rate": 0.0}
        search = dataclasses.replace(search, restart=Rollout(), **rates)
    exchange_every = None if exchange is None else every * exchange
    return MultiStart(search, starts, start_noise, noise, exchange_every)
