r"""Is the latent distance a guide? Plans with good dynamics, and only the goal cost in a latent.

    python -m experiments.latent.metric_limit --costs=state,pixels,patches
    python -m experiments.latent.metric_limit --costs=pusht_vector@temporal

The dynamics are those of the shipped state model, eight numbers that nobody has to perceive; its
predictions are drawn, and a goal cost compares the drawn frame with the goal's. So encoder errors
and model errors of a latent play no part: what a sampler fails at here, it fails at by the cost.

`state` compares poses; `pixels` frames; `patches` 8 x 8 tokens of 16 numbers, the principal
components of what patches look like beside the median frame: a linear autoencoder of patches. Any
other name is a checkpoint of `experiments.models.latent`, `@temporal` its distance in time.
Writes a JSON line per goal, and resumes.
"""

import functools
import json
import pathlib
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags
from jax import Array

import grasp_jax
from experiments.environments.pusht import frames as pusht_frames
from experiments.environments.pusht import simulator as pusht
from experiments.environments.pusht.fast import FastPushT
from experiments.environments.pusht.goals import sample_goals
from experiments.harness.flags import begin
from experiments.harness.log import Record, ResultLog
from experiments.harness.settings import check_settings, describe
from experiments.harness.tables import wilson_interval
from experiments.latent import metric_pictures
from experiments.models.lewm.networks import merge
from experiments.models.load import load_model
from experiments.models.pusht_state import coordinates
from experiments.models.pusht_state.coordinates import ACTION_SIZE, ACTION_STD, FRAMESKIP
from experiments.models.pusht_state.model import load_model as load_state_model
from experiments.planning.planners import SMOOTH

_SIDE = 8  # pixels along a patch
_KEYS = ("cost", "planner", "horizon", "goal")
_CHUNK = 8


def define_flags() -> None:
    """Defines the flags; apart from the import, so that binaries can share a process."""
    flags.DEFINE_list("costs", ["state", "pixels", "patches"], "Goal costs, see above.")
    flags.DEFINE_list("planners", ["CEM"], "Of `planners` in this file.")
    flags.DEFINE_integer("goals", 32, "Goals, of the split `report`.", lower_bound=1)
    flags.DEFINE_integer("horizon", 50, "Environment steps.", lower_bound=5)
    flags.DEFINE_string("output", "runs/pusht_latent/metric_limit", "Folder of the results.")


def planners() -> dict[str, Any]:
    """Small budgets: drawing a frame takes a third of a millisecond of a core."""
    return {
        "CEM": grasp_jax.CEM(num_samples=100, num_elites=10, iterations=15, std=1.0, noise=SMOOTH),
        "GD-Adam-x8": grasp_jax.MultiStart(
            grasp_jax.GD(learning_rate=0.1, iterations=60),
            num_starts=8,
            start_std=1.0,
            noise=SMOOTH,
        ),
    }


def draw(state: Array) -> Array:
    """The frame [64, 64, 3] in [0, 1] of a planning state [8]."""
    zeros = jnp.zeros(3)
    angle = jnp.arctan2(state[5], state[4])[None]
    full = jnp.concatenate([100 * state[:2], jnp.zeros(2), 100 * state[2:4], angle, zeros])
    return pusht_frames.draw(full) / 255


class FrameDistance(eqx.Module):
    """The squared distance of what an encoder makes of the frames of two planning states [8].

    Attributes:
        encode: frames [64, 64, 3] in [0, 1] to any array.
    """

    encode: Callable[[Array], Array]

    def __call__(self, state: Array, goal: Array) -> Array:
        """The cost []."""
        return jnp.sum((self.encode(draw(state)) - self.encode(draw(goal))) ** 2)


class Patches(eqx.Module):
    """Tokens of patches by principal components.

    Attributes:
        median: [8, 8, 192], the median frame's patches.
        basis: [192, 16].
    """

    median: Array
    basis: Array

    @staticmethod
    def fit(frames: Array, numbers: int = 16) -> "Patches":
        """To frames [n, 64, 64, 3] in [0, 1]."""
        patches = merge(frames, _SIDE)
        median = jnp.median(patches, axis=0)
        apart = (patches - median).reshape(-1, patches.shape[-1])
        _, vectors = jnp.linalg.eigh(apart.T @ apart)
        return Patches(median, vectors[:, -numbers:])

    def __call__(self, frame: Array) -> Array:
        """A frame [64, 64, 3] to [8, 8, 16]."""
        return (merge(frame, _SIDE) - self.median) @ self.basis


class Encoded(eqx.Module):
    """The latent of a trained model, or what its head of time makes of it.

    Attributes:
        model: the model.
    """

    model: Any

    def __call__(self, frame: Array) -> Array:
        """A frame [64, 64, 3] to [D] or [32]."""
        # Not rounded as a camera would, so that there is a gradient.
        latent = self.model.encoder(255 * frame[None])[0]
        return self.model.time(latent) if self.model.config.metric == "temporal" else latent


@functools.cache
def fit_patches() -> Patches:
    """To frames of the goals' policies, other goals than those of the table."""
    frames = pusht_frames.render(sample_goals(256, 25, split="tune").start)
    return Patches.fit(jnp.asarray(frames.astype(np.float32) / 255))


def cost_named(name: str) -> Callable[[Array, Array], Array]:
    """The goal cost of that name."""
    if name == "state":
        return coordinates.goal_distance
    if name == "pixels":
        return FrameDistance(lambda frame: frame)
    if name == "patches":
        return FrameDistance(fit_patches())
    return FrameDistance(Encoded(load_model(name)))


def plan(cost: Any, planner: Any, start: Array, goal: Array, keys: Array, steps: int) -> Any:
    """Plans [n, T, 10] for starts and goals [n, 8]."""
    bound = 1 / ACTION_STD
    return grasp_jax.plan_batch(
        load_state_model(),
        start,
        goal,
        jnp.zeros((steps, ACTION_SIZE)),
        keys,
        planner=planner,
        bounds=(-bound, bound),
        objective=grasp_jax.Objective(cost),
    )


def _distances(state: np.ndarray, goal: np.ndarray) -> Record:
    gaps = {"agent": pusht.AGENT_POSITION, "block": pusht.BLOCK_POSITION}
    return {k: round(float(np.linalg.norm((state - goal)[v])), 2) for k, v in gaps.items()}


def run(log: ResultLog, name: str, planner_name: str, goals: int, horizon: int) -> None:
    """Plans and scores the goals that the log does not hold."""
    cases, planner, cost = (
        sample_goals(goals, horizon), planners()[planner_name], cost_named(name)
    )  # fmt: skip
    start, goal = (
        jnp.asarray(coordinates.encode(x), jnp.float32) for x in (cases.start, cases.goal)
    )
    place = {"cost": name, "planner": planner_name, "horizon": horizon}
    todo = [i for i in range(goals) if not log.done(**place, goal=i)]
    simulator = FastPushT()
    for first in range(0, len(todo), _CHUNK):
        rows = np.resize(np.asarray(todo[first : first + _CHUNK]), _CHUNK)
        keys = jax.vmap(functools.partial(jax.random.fold_in, jax.random.key(0)))(jnp.asarray(rows))
        found = plan(cost, planner, start[rows], goal[rows], keys, horizon // FRAMESKIP)
        commands = np.clip(coordinates.split_actions(np.asarray(found.actions)), -1, 1)
        for row, i in enumerate(todo[first : first + _CHUNK]):
            states = simulator.execute(cases.start[i], commands[row])
            record: Record = {
                **place,
                "goal": i,
                **_distances(states[-1], cases.goal[i]),
                "success": bool(pusht.success(states[-1], cases.goal[i])),
                "position_error": round(float(pusht.position_error(states[-1], cases.goal[i])), 2),
                "angle_error": round(float(pusht.angle_error(states[-1], cases.goal[i])), 4),
                "cost_found": float(found.cost[row]),
                "predicted_success": bool(
                    coordinates.predicted_success(
                        np.asarray(found.states[row, -1]), np.asarray(goal[i])
                    )
                ),
            }
            log.append(record)


def main(argv: list[str]) -> None:
    """Plans with each cost, prints the shares of goals reached."""
    begin(argv)
    values = flags.FLAGS
    folder = pathlib.Path(values.output)
    chosen = {name: describe(planners()[name]) for name in values.planners}
    check_settings(folder, {"planners": chosen})
    log = ResultLog(folder / "results.jsonl", _KEYS)
    for cost in values.costs:
        for name in values.planners:
            run(log, cost, name, values.goals, values.horizon)
            place = (cost, name, values.horizon)
            wins = [r["success"] for r in log.records if tuple(r[k] for k in _KEYS[:3]) == place]
            low, high = wilson_interval(sum(wins), len(wins))
            print(f"{place}: {sum(wins)} of {len(wins)}, {low:.0%} to {high:.0%}", flush=True)
    states = coordinates.encode(sample_goals(48, values.horizon, split="tune").start)
    records = [r for r in log.records if (r["planner"], r["horizon"]) == ("CEM", values.horizon)]
    costs = {name: cost_named(name) for name in values.costs}
    curves = metric_pictures.draw(folder / "metric_limit.png", costs, states, records)
    (folder / "curves.json").write_text(json.dumps(curves, indent=1) + "\n")


if __name__ == "__main__":
    define_flags()
    app.run(main)
