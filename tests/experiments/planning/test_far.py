"""Push-T's far goals: recorded pieces, proposed paths, an episode from start to record."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.planning import runner, tasks
from experiments.pusht import far, far_rows, recorded
from grasp_jax import GD, GRASP, MultiStart
from grasp_jax.proposals import straight_line

SETTING = runner.Setting(tasks.PUSHT, "pusht_pixels", replan_every=1)


def test_a_path_comes_from_a_list_a_tree_or_the_goal_alone() -> None:
    rows = jnp.arange(12.0).reshape(6, 2)
    found = far_rows.proposer(rows)(rows[2] + 0.1, rows[-1], num_states=4)
    assert found.known and found.num_steps == 4
    np.testing.assert_array_equal(found.states, rows[2:])
    line = np.linspace([0.0, 0.0], [9.0, 3.0], 10, dtype=np.float32)
    index = recorded.make_index(recorded.Recorded(line, np.zeros(10, int)), 10)
    tree = index.towards(line[-1])
    assert far_rows.proposer(tree) is tree and far_rows.proposer(None) is straight_line
    np.testing.assert_allclose(tree(jnp.asarray(line[0]), num_states=12).states[-1], line[-1])


def test_a_flat_plan_is_to_arrive_when_it_said() -> None:
    def arrivals(costs: list[float], recorded: int) -> list[int]:
        due, found = None, []
        for step, cost in enumerate(costs):
            due = far_rows.arrival(step, due, cost, recorded)
            found.append(due)
        return found

    good, bad = 1e-3, 3e-3
    # Followed, then made anew when its time is over.
    assert arrivals([good] * 15, 10) == [10] * 12 + [20] * 3
    assert arrivals([bad], 40) == [far_rows.FLAT_AHEAD]
    # Put off at the next plan where it does not arrive, and never beyond the end of the episode.
    assert arrivals([good] * 3 + [bad] * 3, 12) == [12] * 4 + [20] * 2
    assert arrivals([bad] * 19, 10)[-3:] == [20] * 3


def test_rows_along_paths_look_less_far_than_these_and_lift_from_them() -> None:
    rows = {name: row for name, row in far_rows.rows().items() if row.path}
    assert len(rows) == 5
    for name, row in rows.items():
        assert row.num_states > row.ahead, name
        planner = row.planner(jnp.zeros((row.ahead - 1, 6)))
        if name.startswith("GRASP-"):
            assert isinstance(planner, MultiStart) and isinstance(planner.planner, GRASP)
            assert planner.planner.init_states.states.shape == (row.ahead - 1, 6)


@pytest.mark.slow
def test_pieces_are_recorded_once_and_an_episode_is_driven(tmp_path: pathlib.Path) -> None:
    recorded_steps = recorded.STEPS // SETTING.task.frameskip + 1
    found = recorded.record(tmp_path, SETTING.task, SETTING.model, 2)
    assert found.latents.shape == (2 * recorded_steps, 6)
    again = recorded.record(tmp_path, SETTING.task, SETTING.model, 1)
    np.testing.assert_array_equal(again.latents, found.latents[:recorded_steps])
    (episode,) = far.episodes(SETTING, 1, 10, "tune")
    assert episode.states.shape[0] == 3
    measured = SETTING.model.measure(jax.numpy.asarray(episode.goal))
    assert tasks.pusht_predicted(measured, episode.states[-1])
    world = far.World(SETTING, recorded.make_index(found, 20))
    tiny = GD(learning_rate=0.1, iterations=3)
    for path in (None, "graph", "segments", "truth"):
        row = far_rows.Row(path, tiny, lifts=False)
        record = far.drive(world, row, far.Controller(world, row, episode), episode)
        assert 5 <= record["steps"] <= 25 and record["control_steps"] <= 4
        assert record["success"] in (True, False) and np.isfinite(record["position_error"])
