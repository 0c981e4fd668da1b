r"""What limits the vector: its encoder, its predictor, or where its variance lies.

    python -m experiments.latent.limits            # two minutes

Three measurements of a vector's checkpoint. *Encoder*: the true simulator runs the true actions
from the state that the probe reads off the start frame; what is lost then, the encoder loses.
*Predictor*: the same actions through the model. *Axes*: how far the probe is off where only the
first principal axes of the latents are kept, beside the share of variance that they hold.
"""

import json
import pathlib
from typing import Any

import jax.numpy as jnp
import numpy as np
from absl import app, flags

from experiments.environments.goals import Goals
from experiments.environments.pusht.collect import collect_shard
from experiments.environments.pusht.goals import sample_goals
from experiments.environments.pusht.simulator import success
from experiments.harness.flags import begin
from experiments.models import checkpoint
from experiments.models.checkpoint import checkpoint_path
from experiments.models.latent import report
from experiments.models.latent.code import axes_of
from experiments.models.latent.model import LatentModel
from experiments.models.load import load_model
from experiments.planning.tasks import execute_pusht

KEPT = (8, 16, 20, 24, 28, 32, 40, 48, 64)
_VELOCITY = slice(2, 4)


def define_flags() -> None:
    """Defines the flags; apart from the import, so that binaries can share a process."""
    flags.DEFINE_string("checkpoint", "pusht_vector", "The model.")
    flags.DEFINE_integer("goals", 300, "Goals per horizon.", lower_bound=1)
    flags.DEFINE_integer("videos", 100, "Videos for the axes, as many again to measure.", 1)
    flags.DEFINE_float("floor", 0.1, "Variance below which an axis matters less to `@scaled`.")
    flags.DEFINE_string("axes", str(checkpoint_path("pusht_axes")), "File of the scaled axes.")
    flags.DEFINE_string("output", "experiments/results/pusht_latent/limits.json", "File.")


def encoder_limit(model: LatentModel, goals: Goals) -> dict[str, Any]:
    """True physics from probed starts: errors at the goal, and the share that still succeeds.

    The agent's velocity is given: it shows in no frame, only in the one before.
    """
    measured = model.measure(jnp.asarray(report.encode_many(model, goals.start)))
    states = report.states_of(np.asarray(measured))
    states[:, _VELOCITY] = goals.start[:, _VELOCITY]
    final = execute_pusht(states, goals.actions)[:, -1]
    errors = report.errors_of(report.targets_of(final), goals.goal)
    reached = round(float(success(final, goals.goal).mean()), 4)
    return {"reached": reached, "errors": report.quantiles(errors)}


def axes_limit(
    model: LatentModel, videos: int, floor: float, path: pathlib.Path
) -> list[dict[str, Any]]:
    """The probe's errors where only some axes are kept; writes those that `@scaled` takes."""
    states, _ = collect_shard(0, 2 * videos, 120, 1)
    seen = states[:, :: model.frameskip]
    latents = report.encode_many(model, seen)
    size = latents.shape[-1]
    full = axes_of(latents[:videos].reshape(-1, size), size, 0.0)
    scaled = axes_of(latents[:videos].reshape(-1, size), KEPT[-1], floor)
    checkpoint.write(path, {"down": jnp.asarray(scaled.down)}, {"floor": floor}, half=("",))
    rows = []
    for count in (*(k for k in KEPT if k < size), size):
        down, up = full.down[:, :count], full.up[:count]
        kept = (latents[videos:] - full.mean) @ down @ up + full.mean
        errors = report.errors_of(np.asarray(model.measure(jnp.asarray(kept))), seen[videos:])
        rows.append(
            {
                "axes": count,
                "variance": round(float(full.variance[:count].sum() / full.variance.sum()), 5),
                "last_variance": round(float(full.variance[count - 1]), 6),
                "errors": report.quantiles(errors.reshape(-1, 3)),
            }
        )
    return rows


def main(argv: list[str]) -> None:
    """Measures, writes, prints."""
    begin(argv)
    values = flags.FLAGS
    model = load_model(values.checkpoint)
    if not isinstance(model, LatentModel):
        raise app.UsageError(f"--checkpoint must be a latent, got {values.checkpoint}.")
    horizons = {}
    for horizon in (25, 50):
        goals = sample_goals(values.goals, horizon, split="tune")
        horizons[str(horizon)] = {
            "encoder": encoder_limit(model, goals),
            "model": report.on_goals(model, goals, horizon),
        }
    found = {
        "command": f"python -m experiments.latent.limits --checkpoint={values.checkpoint} "
        f"--goals={values.goals} --videos={values.videos}",
        "horizons": horizons,
        "axes": axes_limit(model, values.videos, values.floor, pathlib.Path(values.axes)),
    }
    text = json.dumps(found, indent=1)
    pathlib.Path(values.output).write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    define_flags()
    app.run(main)
