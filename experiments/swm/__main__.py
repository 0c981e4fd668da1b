"""stable-worldmodel's evaluation of a world model in its Push-T, planned by our planners.

python -m experiments.swm --checkpoint=runs/lewm/weights.pt
python -m experiments.swm                     # small random weights: whether all runs

Records episodes with the package's own collector, takes starts and goals `goal_offset` steps apart
from them, and lets its policy and evaluation loop execute what `PlannerSolver` plans, beside its
random policy. An episode is solved when its goal is met at any time, which is the package's rule.

Needs stable-worldmodel installed whole, in an environment of its own (its Push-T needs pymunk 7):
pip install torch torchvision stable-worldmodel opencv-python-headless pygame 'pymunk>=7' shapely
    imageio imageio-ffmpeg transformers jax optax absl-py pandas scipy tqdm safetensors
"""

import dataclasses
import pathlib
import time
from typing import Any

import jax
import numpy as np
from absl import app, flags

from experiments.harness.flags import begin
from experiments.harness.log import Record, ResultLog
from experiments.harness.tables import print_table, wilson_interval, write_summary
from grasp_jax import CEM, GD, GRASP, ICEM, MPPI, MultiStart
from grasp_jax.integrations.stable_worldmodel import PlannerSolver
from grasp_jax.world_models import LeWM, LeWMConfig, Normalization, ViTConfig

_FLAGS = flags.FLAGS

SMALL = LeWMConfig(
    latent=32,
    depth=2,
    heads=2,
    hidden=64,
    encoder=ViTConfig(width=32, depth=2, heads=1, hidden=64, image=56, pos_grid=4),
)


@dataclasses.dataclass(frozen=True)
class Recording:
    """Recorded episodes, as the evaluation loop reads a data set.

    Attributes:
      episodes: Each `{column: [steps, ...]}`, frames `[steps, height, width, 3]`.
    """

    episodes: list[dict[str, np.ndarray]]

    @property
    def column_names(self) -> list[str]:
        """Of every episode."""
        return list(self.episodes[0])

    def load_chunk(self, episodes: Any, start: Any, end: Any) -> list[dict[str, Any]]:
        """Steps `start..end-1` of some episodes as tensors, frames channels first."""
        import torch  # pyright: ignore[reportMissingImports]

        def cut(episode: int, first: int, last: int) -> dict[str, Any]:
            columns = self.episodes[episode].items()
            chunk = {k: torch.tensor(x[first:last]) for k, x in columns}
            return {**chunk, "pixels": chunk["pixels"].permute(0, 3, 1, 2)}

        return [cut(*each) for each in zip(episodes, start, end, strict=True)]


@dataclasses.dataclass(frozen=True)
class Scaler:
    """Z-scores, in the form that the package's policy calls.

    Attributes:
      mean: `[n]`.
      std: `[n]`.
    """

    mean: np.ndarray
    std: np.ndarray

    @staticmethod
    def fit(rows: np.ndarray) -> "Scaler":
        """Of `[..., n]`; rows with a NaN are left out."""
        norm = Normalization.fit(rows)
        return Scaler(np.asarray(norm.action_mean), np.asarray(norm.action_std))

    def transform(self, x: np.ndarray) -> np.ndarray:
        """`[..., n]` to z-scores."""
        return (x - self.mean) / self.std

    def inverse_transform(self, x: np.ndarray) -> np.ndarray:
        """Z-scores to `[..., n]`."""
        return x * self.std + self.mean


def define_flags() -> None:
    """Defined when run, so that tests may import this file beside other binaries."""
    flags.DEFINE_string("checkpoint", "", "LeWM, PLDM or DINO-WM weights; or none.")
    flags.DEFINE_string("output", "runs/swm_evaluate", "Where results and videos go.")
    flags.DEFINE_integer("episodes", 4, "Starts and goals, one environment each.")
    flags.DEFINE_integer("goal_offset", 25, "Environment steps from a start to its goal.")
    flags.DEFINE_integer("budget", 50, "Environment steps that a plan may take.")
    flags.DEFINE_integer("horizon", 5, "Model steps per plan.")
    flags.DEFINE_integer("receding_horizon", 5, "Model steps executed before the next.")
    flags.DEFINE_integer("action_block", 5, "Environment steps per model step.")
    flags.DEFINE_enum("planner", "GRASP", ["GRASP", "CEM", "ICEM", "MPPI", "GD"], "How to plan.")
    flags.DEFINE_integer("iterations", 0, "Of the planner; 0 for its default.")
    flags.DEFINE_integer("seed", 0, "Of episodes and plans.")


def package() -> Any:
    """stable-worldmodel, or a message that says how to get it."""
    try:
        import pymunk
        import stable_worldmodel  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise app.UsageError(f"stable-worldmodel cannot be imported here ({error}).") from error
    if not hasattr(pymunk.Space, "on_collision"):
        raise app.UsageError(
            f"stable-worldmodel's Push-T needs pymunk 7, this is {pymunk.version}. Install it in "
            "an environment of its own: the experiments extra of grasp_jax needs pymunk 6."
        )
    return stable_worldmodel


def record(world: Any, swm: Any, episodes: int, seed: int) -> Recording:
    """Episodes of the package's own data collector."""
    from stable_worldmodel.envs.pusht.expert_policy import (  # pyright: ignore[reportMissingImports]
        WeakPolicy,
    )

    kept = ("pixels", "state", "proprio", "action")
    found = swm.data.ReplayBuffer(
        200 * episodes, key_filter=lambda ep: {k: np.asarray(ep[k]) for k in kept}
    )
    world.set_policy(WeakPolicy(dist_constraint=100))
    world.collect(writer=found, episodes=episodes, seed=seed)
    return Recording([{k: np.stack(x) for k, x in ep.items()} for ep in found.episodes()])


def planner(name: str, iterations: int) -> Any:
    """One of ours; gradient descent in eight starts."""
    made = {"GRASP": GRASP, "CEM": CEM, "ICEM": ICEM, "MPPI": MPPI, "GD": GD}[name]()
    if iterations:
        made = dataclasses.replace(made, iterations=iterations)
    if isinstance(made, GRASP) and made.sync_every > made.iterations:
        made = dataclasses.replace(made, sync_every=made.iterations)
    return MultiStart(made, num_starts=8, start_std=0.5) if isinstance(made, GD) else made


def evaluate(world: Any, policy: Any, data: Recording, seed: int, video: pathlib.Path) -> Record:
    """One run of the package's evaluation loop, each environment from one recorded episode."""
    count, offset = world.num_envs, _FLAGS.goal_offset
    random = np.random.default_rng(seed)
    longest = [max(1, len(ep["state"]) - offset) for ep in data.episodes[:count]]
    world.set_policy(policy)
    began = time.perf_counter()
    found = world.evaluate(
        dataset=data,
        episodes_idx=list(range(count)),
        start_steps=[int(random.integers(n)) for n in longest],
        goal_offset=offset,
        eval_budget=_FLAGS.budget,
        callables=[
            {"method": "_set_state", "args": {"state": {"value": "state"}}},
            {"method": "_set_goal_state", "args": {"goal_state": {"value": "goal_state"}}},
        ],
        video=video,
    )
    solved = int(np.sum(found["episode_successes"]))
    low, high = wilson_interval(solved, count)
    return {
        "environment": "swm/PushT-v1",
        "observation": "pixels",
        "mode": "closed_loop",
        "horizon": offset,
        "goals": count,
        "success_any_time": solved / count,
        "success_low": low,
        "success_high": high,
        "loop_seconds": time.perf_counter() - began,
    }


def main(argv: list[str]) -> None:
    """Evaluates our planner and the random policy, and writes the table."""
    begin(argv)
    swm, seed = package(), _FLAGS.seed
    given = _FLAGS.checkpoint or LeWM.random(jax.random.key(seed), SMALL)
    model = PlannerSolver(given).model
    size, count = model.config.encoder.image, _FLAGS.episodes
    world = swm.World(
        "swm/PushT-v1",
        num_envs=count,
        image_shape=(size, size),
        max_episode_steps=max(2 * _FLAGS.budget, 2 * _FLAGS.goal_offset),
    )
    data = record(world, swm, count, seed)
    columns = {k: np.concatenate([ep[k] for ep in data.episodes]) for k in ("action", "proprio")}
    solver = PlannerSolver(
        model,
        planner=planner(_FLAGS.planner, _FLAGS.iterations),
        normalization=Normalization.fit(columns["action"], action_block=_FLAGS.action_block),
        seed=seed,
    )
    scalers = {k: Scaler.fit(x) for k, x in columns.items()}
    plans = swm.PlanConfig(
        horizon=_FLAGS.horizon,
        receding_horizon=_FLAGS.receding_horizon,
        action_block=_FLAGS.action_block,
    )
    process = {**scalers, "goal_proprio": scalers["proprio"]}
    policies = {
        _FLAGS.planner: swm.policy.WorldModelPolicy(solver, plans, process=process),
        "random": swm.policy.RandomPolicy(seed=seed),
    }
    folder = pathlib.Path(_FLAGS.output)
    log = ResultLog(folder / "results.jsonl", ("planner", "checkpoint", "goals", "seed"))
    rows = []
    for name, policy in policies.items():
        found = evaluate(world, policy, data, seed, folder / name)
        checkpoint = _FLAGS.checkpoint or "random weights"
        rows.append({"planner": name, "checkpoint": checkpoint, "seed": seed, **found})
        log.append(rows[-1])
    write_summary(folder / "summary.csv", rows)
    print_table(rows, "solved at any time")
    print(f"videos: {folder}/<planner>/")


if __name__ == "__main__":
    define_flags()
    app.run(main)
