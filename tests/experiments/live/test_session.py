"""The loop behind a page, without a page."""

import dataclasses
import itertools
import time

import numpy as np
import pytest

pytest.importorskip("aiohttp", reason="the extra `live` is not installed")

from experiments.live import compilation, grasp_jax_live
from experiments.live.outbox import Outbox
from experiments.live.plug import Server
from experiments.live.session import Session, Wish
from experiments.live.world import Handle
from tests.experiments.live.worlds import GOAL, OWN, SETTINGS, START, broken, draw, dynamics

PATIENCE = 60


def world_of(model, **fields):
    """The world that `grasp_jax_live` makes of a model."""
    server = grasp_jax_live(model, START, draw, **{**OWN, **fields})
    try:
        return server.worlds["own"]()
    finally:
        server.close()


class Watched:
    """A session, and all that it put into its outbox."""

    def __init__(self, world, settings=SETTINGS, playing=True, goal=GOAL):
        self.view, self.rows, self.messages = {}, [], []
        self.outbox = Outbox()
        self.session = Session(world, Wish(settings, goal, playing), START, self.outbox)
        self.session.start()

    def wait(self, condition):
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            found = self.outbox.take()
            self.view |= found.get("view", {})
            self.rows += found.get("rows", [])
            self.messages += found.get("messages", [])
            if condition(self):
                return
            time.sleep(0.01)
        raise AssertionError(f"not in {PATIENCE} s; {self.view.get('phase')}, {self.messages}")

    def wait_for(self, phase):
        self.wait(lambda w: w.view.get("phase") == phase)


@pytest.fixture(scope="module")
def world():
    return world_of(dynamics)


def test_it_reaches_its_goal_and_then_another(world):
    watched = Watched(world)
    watched.wait_for("reached")
    assert np.linalg.norm(np.subtract(watched.view["stateNumbers"], GOAL)) <= 0.05
    assert {row[0] for row in watched.rows} == {1, 2, 3, 4}
    watched.session.move_goal(0, Handle(-0.2, -0.6))
    watched.wait(lambda w: w.view["phase"] != "reached")
    watched.wait_for("reached")
    assert np.linalg.norm(np.subtract(watched.view["stateNumbers"], (-0.2, -0.6))) <= 0.05
    assert watched.session.close(PATIENCE)


def test_a_goal_on_the_way_is_planned_for_first(world):
    asked = []

    def toward(state, goal):
        aim = state + np.clip(goal - state, -0.2, 0.2)
        asked.append((state, aim))
        return goal if np.array_equal(aim, goal) else aim

    watched = Watched(dataclasses.replace(world, toward=toward))
    watched.wait(lambda w: w.view.get("aim"))
    watched.wait_for("reached")
    assert watched.view["aim"] == ""
    for (state, aim), (after, _) in itertools.pairwise(asked):
        assert np.linalg.norm(after - aim) < np.linalg.norm(state - aim)
    assert watched.session.close(PATIENCE)


def test_paused_it_searches_and_stands_still(world):
    watched = Watched(world, playing=False)
    watched.wait_for("paused")
    assert watched.view["steps"] == 0
    assert len(watched.view["rolloutLine"]) == SETTINGS.horizon + 1
    watched.session.step()
    watched.wait(lambda w: w.view["steps"] == SETTINGS.follow)
    watched.wait_for("paused")
    assert watched.view["steps"] == SETTINGS.follow
    assert watched.session.close(PATIENCE)


def test_numbers_never_compile():
    """Every slider, to other values: the planner with most of them has the programs it had."""
    world = world_of(dynamics)
    settings = dataclasses.replace(SETTINGS, planner="GRASP", sync="gradients", horizon=6)
    watched = Watched(world, settings, playing=False, goal=np.array([0.9, 0.9], np.float32))
    watched.wait_for("paused")
    before = compilation.count()
    other = dataclasses.replace(
        settings, effort=7, horizon=4, state_std=0.0, action_std=0.7, rate=0.01, follow=1
    )
    watched.view["phase"] = ""
    watched.session.configure(other)
    watched.wait_for("paused")
    assert len(watched.view["rolloutLine"]) == 5
    assert len(watched.view["virtualLine"]) == 4
    assert compilation.count() == before
    assert watched.session.close(PATIENCE)


def test_a_model_of_nan_stops_with_a_message_and_can_be_closed():
    world = world_of(broken)
    watched = Watched(world)
    watched.wait(lambda w: w.messages)
    message = watched.messages[0]
    assert message["kind"] == "error"
    assert "NaN or infinity" in message["text"]
    assert watched.view["phase"] == "stopped"
    assert watched.view["playing"] is False
    assert watched.session.close(PATIENCE)


def test_a_simulator_of_nan_stops_too(world):
    lost = dataclasses.replace(world, simulate=lambda state, action: [state * np.nan])
    watched = Watched(lost)
    watched.wait(lambda w: w.messages)
    assert "the world's next state has NaN" in watched.messages[0]["text"]
    assert watched.session.close(PATIENCE)


def test_a_broken_step_is_told_and_play_tries_again(world):
    def fails(state, action):
        raise RuntimeError("the robot is off")

    watched = Watched(dataclasses.replace(world, simulate=fails))
    for _ in range(2):
        watched.wait(lambda w: w.messages)
        assert "the robot is off" in watched.messages.pop()["text"]
        watched.session.play(True)
    assert watched.session.close(PATIENCE)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"action_size": 0}, "action_size must be a positive int"),
        ({"goal": np.array([np.nan, 0.0])}, "start and goal must be finite"),
        ({"goal": {"x": 0.0}}, "goal must be a pytree like start"),
        ({"draw": 3}, "draw must be callable"),
        ({"draw": lambda state: None}, "draw must return a fragment of SVG"),
        ({"start": np.array([1, 2])}, "start must be a pytree of floating arrays, got int64"),
        ({"start": np.zeros(1), "goal": np.zeros(1)}, "point is needed"),
    ],
)
def test_bad_worlds_are_refused_at_the_door(changes, message):
    given = {"start": START, "draw": draw, **OWN, **changes}
    start, how = given.pop("start"), given.pop("draw")
    with pytest.raises(ValueError, match=message):
        grasp_jax_live(dynamics, start, how, **given)


def test_a_port_in_use_is_named():
    first = Server({})
    try:
        with pytest.raises(OSError, match=f"port {first.port} of 127.0.0.1 is in use"):
            Server({}, first.port)
    finally:
        first.close()
