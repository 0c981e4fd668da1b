"""GRASP from several starts, restarted after every sync: what our tables call GRASP."""

from grasp_jax._fields import Number, Scalar, Scale, as_count, check_range
from grasp_jax.init_states import Rollout
from grasp_jax.noise import AR1, Noise
from grasp_jax.planner import Planner
from grasp_jax.planners.gradient import GD
from grasp_jax.planners.grasp import GRASP
from grasp_jax.planners.multi_start import MultiStart

_SYNC = GD(learning_rate=0.1, iterations=30)
_SMOOTH = AR1(rho=0.9)


def restarted_grasp(
    *,
    num_starts: int = 8,
    num_cycles: int = 8,
    num_lifted: int = 4,
    state_std: Scale = 0.1,
    action_std: Scalar | None = 0.3,
    start_std: Scalar = 0.5,
    state_rate: Scale = 0.03,
    action_rate: Scalar = 0.1,
    sync: Planner = _SYNC,
    resample_every: int | None = 1,
    noise: Noise = _SMOOTH,
) -> MultiStart:
    """Searches that restart from noise after every sync, and help each other.

    Ours, not the paper's, and what `MPC` does by default. In each cycle time-correlated noise
    moves the virtual states off the rollout of the search's best plan, the actions follow them in a
    few lifted iterations (no dense goal term, nearly frozen states), noise moves the actions, and
    the sync makes a true rollout of them. Searches that fall behind go on from copies of those
    ahead. `MultiStart(Hops(planner=sync))` is the same without the lifted iterations.

    The noises have the units of states and actions: about as much as two good plans differ.

    Args:
      num_starts: Searches side by side, the first from the starting guess itself.
      num_cycles: Syncs of each.
      num_lifted: Lifted iterations before each sync.
      state_std: Standard deviation on the virtual states, for each cycle anew: a number, or a
        pytree like the state.
      action_std: Standard deviation on the actions before each sync, or None.
      start_std: Standard deviation on the first actions of all searches but one.
      state_rate: `η_s`, of Adam: a number, or a pytree like the state.
      action_rate: `η_a`, of Adam.
      sync: The serial planner; by default `GD(learning_rate=0.1, iterations=30)`.
      resample_every: Cycles after which the worse half goes on from copies of the better half, or
        None.
      noise: The process of the noise on the actions; by default `AR1(rho=0.9)`.

    Raises:
      TypeError, ValueError: A count cannot work, or a number is negative. What does not fit the
        problem is told by `plan`, where `state_std` is `GRASP.init_states.std` and `action_std`
        is `GRASP.sync_std`.

    >>> import grasp_jax
    >>> grasp_jax.restarted_grasp(num_starts=16, num_cycles=4, num_lifted=3).iterations
    12
    """
    numbers = {"state_std": state_std, "action_std": action_std, "start_std": start_std}
    numbers |= {"state_rate": state_rate, "action_rate": action_rate}
    for name, value in numbers.items():
        check_range(value, Number(low=0), f"restarted_grasp: {name}")
    num_cycles = as_count(num_cycles, "restarted_grasp: num_cycles")
    num_lifted = as_count(num_lifted, "restarted_grasp: num_lifted")
    num_starts = as_count(num_starts, "restarted_grasp: num_starts")
    if resample_every is not None:
        resample_every = num_lifted * as_count(resample_every, "restarted_grasp: resample_every")
    around = Rollout(std=state_std, noise=AR1(rho=0.8))
    search = GRASP(
        iterations=num_lifted * num_cycles,
        state_rate=state_rate,
        action_rate=action_rate,
        goal_weight=0.0,
        state_std=None,
        init_states=around,
        restart_states=around,
        sync=sync,
        sync_every=num_lifted,
        sync_std=action_std,
        sync_noise=noise,
    )
    return MultiStart(
        search,
        num_starts=num_starts,
        start_std=start_std,
        noise=noise,
        resample_every=resample_every,
    )
