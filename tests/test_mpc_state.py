"""What a controller remembers: actions are shifted, frames are pushed."""

import hypothesis
import hypothesis.strategies as st
import jax.numpy as jnp
import numpy as np

from grasp_jax import Context
from grasp_jax.mpc_state import push, shift


def test_shift_drops_the_first_actions():
    actions = jnp.arange(8.0).reshape(4, 2)
    assert (shift(actions) == jnp.concatenate([actions[1:], jnp.zeros((1, 2))])).all()
    later = shift(actions, 3)
    assert (later[0] == actions[3]).all() and not later[1:].any()
    assert (shift(actions, 0) == actions).all()


ROWS = st.lists(st.integers(-9, 9), min_size=1, max_size=6)


@hypothesis.given(ROWS, st.integers(0, 7), st.integers(0, 7))
def test_shifting_twice_is_shifting_by_the_sum(rows: list[int], one: int, two: int):
    actions = jnp.asarray(rows, jnp.float32)[:, None]
    one, two = min(one, len(rows)), min(two, len(rows))
    expected = np.concatenate([actions, np.zeros((20, 1))])[one + two :]
    twice = shift(shift(actions, one), two)
    np.testing.assert_array_equal(twice, expected[: len(rows)])


@hypothesis.given(st.integers(0, 4), st.integers(1, 6), st.booleans())
def test_a_context_holds_the_last_frames_that_were_pushed(past: int, steps: int, masked: bool):
    frames, actions = jnp.zeros((past, 2)), jnp.zeros((past, 1))
    present = jnp.zeros(past, bool) if masked else None
    context = Context({"x": frames}, actions, present)
    for i in range(1, steps + 1):
        context = push(context, {"x": jnp.full(2, i)}, jnp.full(1, -i))
    seen = [max(0, steps - past + 1 + i) for i in range(past)]
    np.testing.assert_array_equal(context.states["x"][:, 0], seen)
    np.testing.assert_array_equal(context.actions[:, 0], [-i for i in seen])
    if masked:
        np.testing.assert_array_equal(context.present, [i > 0 for i in seen])
