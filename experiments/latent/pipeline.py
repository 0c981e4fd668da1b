r"""The whole study in one go, for an accelerator with many cores: about ten minutes.

    python -m experiments.latent.pipeline --work=runs/latent --train_seconds=320 --plan_seconds=220

Collects the data, trains both latents side by side, compiles the planners meanwhile, plans.
Every part resumes: the same command goes on after a kill, and a part that is done is not done
again. Checkpoints and their reports are in `--work`/models, results in `--work`/results, what the
parts print in `--work`/log. Afterwards

    python -m experiments.latent --checkpoint=pusht_tokens --goals=100 --checks=5 \
        --output=runs/latent/results/pusht_tokens

prints the table of a model, and draws it. Without an accelerator the same command works, in days.
"""

import os
import pathlib
import subprocess
import sys
import time

from absl import app, flags

from experiments.harness.flags import begin
from experiments.latent import study
from experiments.latent.ahead import READY


def define_flags() -> None:
    """Defines the flags; apart from the import, so that binaries can share a process."""
    flags.DEFINE_string("work", "runs/latent", "Folder of everything.")
    flags.DEFINE_integer("trajectories", 24000, "Of the data set.", lower_bound=1000)
    flags.DEFINE_float("train_seconds", 320.0, "From the start until both latents are trained.")
    flags.DEFINE_float("plan_seconds", 220.0, "To plan, from then on.")
    flags.DEFINE_integer("processes", 14, "Planning processes.", lower_bound=1)
    flags.DEFINE_integer("goals", 100, "Per cell.", lower_bound=1)
    flags.DEFINE_list("only", [], "Planners to keep; all by default.")


def start(
    log: pathlib.Path, name: str, module: str, *arguments: str, nice: int = 0
) -> subprocess.Popen[bytes]:
    """A part of the study as a process of its own, its output in a file."""
    with (log / f"{name}.log").open("ab") as file:
        command = ["nice", "-n", str(nice), sys.executable, "-m", module, *arguments]
        return subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)


def finish(part: subprocess.Popen[bytes], seconds: float) -> bool:
    """Waits, at most so long; whether the part ended well. A part that is late is ended."""
    try:
        return part.wait(max(0.1, seconds)) == 0
    except subprocess.TimeoutExpired:
        part.terminate()
        part.wait()
        return False


def main(argv: list[str]) -> None:
    """Collects, trains, plans."""
    begin(argv)
    values, began = flags.FLAGS, time.time()
    os.environ["PYTHONUNBUFFERED"] = "1"
    work = pathlib.Path(values.work)
    data, models, results, log = (work / n for n in ("data", "models", "results", "log"))
    for folder in (models, results, log):
        folder.mkdir(parents=True, exist_ok=True)
    (models / READY).unlink(missing_ok=True)

    def say(text: str) -> None:
        print(f"[{time.time() - began:6.1f} s] {text}", flush=True)

    count = f"--trajectories={values.trajectories}"
    collector = start(
        log, "collect", "experiments.environments.pusht.collect", f"--output={data}", count
    )
    until = began + values.train_seconds
    trainers = {
        name: start(
            log, name, "experiments.models.latent", f"--kind={name.removeprefix('pusht_')}",
            f"--data={data}", count, "--wait=600", f"--until={until}", f"--work={work / name}",
            f"--output={models / name}.safetensors",
        )
        for name in study.MODELS
        if not (models / f"{name}.json").exists()
    }  # fmt: skip
    if not finish(collector, 3600):
        raise SystemExit(f"The collector failed: see {log / 'collect.log'}.")
    say("collected")
    planners = [
        start(
            log, f"plan_{i}", "experiments.latent.ahead", f"--process={i}",
            f"--processes={values.processes}", f"--models={models}", f"--output={results}",
            f"--goals={values.goals}", f"--only={','.join(values.only)}",
            nice=10,
        )
        for i in range(values.processes)
    ]  # fmt: skip
    for name, part in trainers.items():
        # The report comes after the training.
        if not finish(part, until + 120 - time.time()):
            say(f"{name} failed or was late: see {log / name}.log")
    say("trained")
    (models / READY).touch()
    end = time.time() + values.plan_seconds
    late = sum(not finish(part, end - time.time()) for part in planners)
    say(f"planned; {late} of {len(planners)} processes did not finish" if late else "planned")


if __name__ == "__main__":
    define_flags()
    app.run(main)
