r"""Draws what the model expects of recorded plans beside what happens in the simulator.

    python -m experiments.latent.imagined --checkpoint=pusht_code --planner=GRASP \
        --folder=experiments/results/pusht_latent/pusht_code

Two rows per goal: the simulator's frames at every model step, and the decoder's of the states that
the model expects; the goal's frame and the decoder's of its latent last.
"""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags
from matplotlib import pyplot as plt

from experiments.environments.pusht.goals import sample_goals
from experiments.harness.flags import begin
from experiments.harness.log import Record, read_results
from experiments.latent import study
from experiments.models.latent import report
from experiments.models.latent.losses import frames_of
from experiments.models.latent.model import LatentModel
from experiments.models.load import load_model
from experiments.planning.tasks import execute_pusht


def define_flags() -> None:
    """Defines the flags; apart from the import, so that binaries can share a process."""
    flags.DEFINE_string("folder", None, "Of results whose first goals keep plans.", required=True)
    flags.DEFINE_string("checkpoint", study.TASK.checkpoint, "The model that planned.")
    flags.DEFINE_string("planner", "GRASP", "Whose plans.")
    flags.DEFINE_integer("horizon", 50, "Environment steps.", lower_bound=5)
    flags.DEFINE_integer("goals", 4, "Rows, two each.", lower_bound=1)


_drawn, _decoded = jax.jit(frames_of), jax.jit(LatentModel.decode)


def frames(model: LatentModel, record: Record) -> tuple[np.ndarray, np.ndarray]:
    """True and expected frames [T + 1, 64, 64, 3] of a plan, and of the goal: [T + 2, ...] each."""
    count, horizon = record["goal"] + 1, record["horizon"]
    goals = sample_goals(count, horizon, record["seed"], record["split"])
    row, every = record["goal"], model.frameskip
    plan = np.asarray(record["actions"], np.float32)
    states = execute_pusht(goals.start[row][None], model.to_environment(plan)[None])[0]
    past = goals.past_states[row, -every * (model.history - 1)]
    shown = report.encode_many(model, np.stack([past, goals.start[row], goals.goal[row]]))
    before = model.from_environment(goals.past_actions[row, -every * (model.history - 1) :])
    taken = np.concatenate([before, plan])[None]
    expected = report.imagine(model, jnp.asarray(shown[None, :2]), jnp.asarray(taken))[0]
    latents = jnp.concatenate([jnp.asarray(shown[1:2]), expected, jnp.asarray(shown[2:])])
    seen = np.concatenate([states[::every], goals.goal[row][None]]).astype(np.float32)
    return np.asarray(_drawn(seen)), np.asarray(_decoded(model, latents))


def main(argv: list[str]) -> None:
    """Draws into the folder of results."""
    begin(argv)
    values = flags.FLAGS
    folder, model = pathlib.Path(values.folder), load_model(values.checkpoint)
    assert isinstance(model, LatentModel)
    records = [
        r
        for r in sorted(read_results(folder), key=lambda r: r["goal"])
        if (r["planner"], r["horizon"]) == (values.planner, values.horizon) and "actions" in r
    ][: values.goals]
    pictures = [(record, *frames(model, record)) for record in records]
    columns = len(pictures[0][1])
    figure, axes = plt.subplots(
        2 * len(pictures), columns, figsize=(0.8 * columns, 1.75 * len(pictures)), squeeze=False
    )
    for i, (record, true, expected) in enumerate(pictures):
        reached = "reached" if record["success"] else "missed"
        labels = (f"goal {record['goal']}\n{reached}", "model")
        for j, (row, label) in enumerate(zip((true, expected), labels, strict=True)):
            for k, frame in enumerate(row):
                axis = axes[2 * i + j, k]
                axis.imshow(frame)
                axis.set_xticks([])
                axis.set_yticks([])
                if k == columns - 1:
                    axis.spines[:].set_color("tab:green")
            axes[2 * i + j, 0].set_ylabel(label, fontsize=7)
    for k in range(columns):
        title = "goal" if k == columns - 1 else str(model.frameskip * k)
        axes[0, k].set_title(title, fontsize=7)
    figure.subplots_adjust(0.04, 0.01, 0.995, 0.96, 0.04, 0.04)
    figure.savefig(folder / "imagined.png", dpi=90)
    plt.close(figure)


if __name__ == "__main__":
    define_flags()
    app.run(main)
