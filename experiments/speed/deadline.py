r"""Push-T from frames at a fixed rate: are deadlines kept, and what does that cost?

    python -m experiments.speed.deadline --output=experiments/results/benchmark

One control step is one step of the model, five of the simulator. `real time`: the controller
answers with the plan at hand, encodes the frame and thinks until the deadline (--hertz), while a
real robot would move; drawing the frame and the simulator are outside, as a camera and a robot
would be. `synchronous`: the world waits for each whole plan. Both drive the same goals with the
same planner. Counted over all control steps: missed deadlines, jitter (the spread of when a step
ends against its deadline), iterations of the planner; and success when the time is up. One core
of a CPU (--cores). Results are written as they finish; the same command resumes.
"""

import pathlib
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

import grasp_jax
from experiments.environments.goals import Goals
from experiments.harness.flags import begin
from experiments.harness.log import Record, ResultLog
from experiments.harness.machine import machine, use_cores
from experiments.harness.progress import progress
from experiments.harness.tables import print_table, write_summary
from experiments.planning.tasks import PUSHT
from grasp_jax import AR1, GD, MPC, Context, MultiStart, RealTimeMPC

KEY_FIELDS = ("loop", "hertz", "horizon", "goal")
LOOPS = ("real time", "synchronous")


def planner() -> Any:
    """Any-time on one core: an iteration takes some milliseconds."""
    noise = AR1(rho=0.9, action_block=5)
    return MultiStart(
        GD(learning_rate=0.1, iterations=60), num_starts=8, start_std=0.5, noise=noise
    )


@jax.jit
def _encode(model: Any, frames: jax.Array) -> jax.Array:
    return model.encode(frames)


def see(model: Any, states: np.ndarray) -> jax.Array:
    """The latents `[n, L]` of frames of states `[n, S]`."""
    return _encode(model, PUSHT.render(states))


class Episode:
    """One goal in the simulator, seen through the model's encoder.

    Attributes:
      state: `[S]`, of the simulator.
      goal: `[S]`.
    """

    def __init__(self, model: Any, goals: Goals, index: int) -> None:
        self.model, self.goal = model, goals.goal[index]
        self.state = goals.start[index]
        every = model.frameskip
        past = goals.past_states[index, -every][None]
        taken = model.from_environment(goals.past_actions[index, -every:])
        self.context = Context(see(model, past), jnp.asarray(taken, jnp.float32))
        self.encoded_goal = see(model, self.goal[None])[0]

    def frame(self) -> np.ndarray:
        """The present frame `[1, 64, 64, 3]`, as a camera gives it."""
        return PUSHT.render(self.state[None])

    def encoded(self, frame: np.ndarray) -> jax.Array:
        """Its latent `[L]`."""
        return _encode(self.model, frame)[0]

    def act(self, action: jax.Array) -> None:
        """One step of the model, five of the simulator."""
        taken = self.model.to_environment(np.asarray(action)[None])
        self.state = PUSHT.execute(self.state[None], np.asarray(taken)[None])[0, -1]

    def controller(self, steps: int) -> MPC:
        """Plans for the time that is left."""
        problem = grasp_jax.make_problem(
            self.model,
            self.encoded(self.frame()),
            self.encoded_goal,
            jnp.zeros((steps, self.model.action_size)),
            bounds=self.model.bounds,
            objective=self.model.objective,
            context=self.context,
        )
        return MPC(problem, planner(), shrinking_horizon=True)


def in_real_time(episode: Episode, steps: int, period: float, key: jax.Array) -> Record:
    """Drives one episode; the first plan is made before it begins, from as many pieces as fit."""
    controller = RealTimeMPC(episode.controller(steps), chunk=2)
    goal, observation = episode.encoded_goal, episode.encoded(episode.frame())
    memory = controller.warm_up(controller.init(key), observation, goal)
    late, done = [], []
    for _ in range(steps):
        frame = episode.frame()
        deadline = time.perf_counter() + period
        observation = episode.encoded(frame)
        action, memory = controller.act(memory, observation)
        memory, info = controller.think(memory, observation, goal, action, deadline)
        late.append(1e3 * (time.perf_counter() - deadline))
        done.append(info.iterations)
        time.sleep(max(deadline - time.perf_counter(), 0))
        episode.act(action)
    return {"late_ms": np.round(late, 3).tolist(), "planner_iterations": done}


def synchronously(episode: Episode, steps: int, key: jax.Array) -> Record:
    """Drives one episode; the world waits."""
    controller = episode.controller(steps)
    memory, took = controller.init(key), []
    for _ in range(steps):
        frame = episode.frame()
        began = time.perf_counter()
        observation = episode.encoded(frame)
        action, memory, _ = controller.step(memory, observation, episode.encoded_goal)
        jax.block_until_ready(action)
        took.append(1e3 * (time.perf_counter() - began))
        episode.act(action)
    return {"took_ms": np.round(took, 3).tolist()}


def drive(loop: str, model: Any, goals: Goals, index: int, steps: int, hertz: float) -> Record:
    """A record of one episode."""
    episode = Episode(model, goals, index)
    key = jax.random.fold_in(jax.random.key(0), index)
    if loop == "real time":
        found = in_real_time(episode, steps, 1 / hertz, key)
    else:
        found = synchronously(episode, steps, key)
    return {**found, "success": bool(PUSHT.success(episode.state, episode.goal))}


def summarize(records: list[Record]) -> list[Record]:
    """One row per loop."""
    rows = []
    driven = [{r["goal"] for r in records if r["loop"] == loop} for loop in LOOPS]
    both = set.intersection(*driven)
    for loop in dict.fromkeys(r["loop"] for r in records):
        mine = [r for r in records if r["loop"] == loop]
        same = [r["success"] for r in mine if r["goal"] in both]
        late = np.concatenate([r.get("late_ms", []) for r in mine])
        took = np.concatenate([r.get("took_ms", []) for r in mine])
        done = np.concatenate([r.get("planner_iterations", []) for r in mine])
        real = len(late) > 0
        rows.append(
            {
                "loop": loop,
                "episodes": len(mine),
                "control_steps": len(late) + len(took),
                "success": float(np.mean([r["success"] for r in mine])),
                "goals_of_both": len(same),
                "success_on_them": float(np.mean(same)) if same else None,
                "missed": int(np.sum(late > 0)) if real else None,
                "latest_ms": float(np.max(late)) if real else None,
                "jitter_ms": float(np.std(late)) if real else None,
                "planner_iterations": float(np.median(done)) if real else None,
                "median_step_ms": None if real else float(np.median(took)),
            }
        )
    return rows


def draw(records: list[Record], path: pathlib.Path) -> None:
    """When control steps ended, against the deadline."""
    from experiments.harness.plots import new_axes, save_figure

    late = np.concatenate([r["late_ms"] for r in records if "late_ms" in r])
    figure, axes = new_axes()
    axes.hist(late, bins=60, color="C0")
    axes.axvline(0, color="black", lw=1)
    axes.set(
        xlabel="ms after the deadline (left of the line: in time)",
        ylabel="control steps",
        title=f"{int(np.sum(late > 0))} of {len(late)} control steps missed their deadline",
    )
    save_figure(figure, path)


def define_flags() -> None:
    """Defines the flags; apart from the import, so that binaries can share a process."""
    flags.DEFINE_list("loops", list(LOOPS), "Of `real time` and `synchronous`.")
    flags.DEFINE_float("hertz", 10.0, "Control steps per second in real time.", lower_bound=0.1)
    flags.DEFINE_integer("horizon", 40, "Simulator steps to each goal.", lower_bound=10)
    flags.DEFINE_integer("goals", 125, "Episodes.", lower_bound=1)
    flags.DEFINE_integer("cores", 1, "CPU cores to use; 0 for all.", lower_bound=0)
    flags.DEFINE_string("output", "runs/benchmark", "Folder for results and the picture.")


def main(argv: list[str]) -> None:
    """Drives, prints, draws."""
    begin(argv)
    use_cores(flags.FLAGS.cores)
    folder, horizon, hertz = (
        pathlib.Path(flags.FLAGS.output),
        flags.FLAGS.horizon,
        flags.FLAGS.hertz,
    )
    log = ResultLog(folder / "deadline.jsonl", KEY_FIELDS)
    model = PUSHT.load(PUSHT.checkpoint)
    goals = PUSHT.goals(flags.FLAGS.goals, horizon, 0, "report")
    with progress(len(flags.FLAGS.loops) * flags.FLAGS.goals, "episodes") as bar:
        for loop in flags.FLAGS.loops:
            for i in range(flags.FLAGS.goals):
                cell = {"loop": loop, "hertz": hertz, "horizon": horizon, "goal": i}
                if not log.done(**cell):
                    steps = horizon // model.frameskip
                    log.append({**cell, **drive(loop, model, goals, i, steps, hertz), **machine()})
                bar(latest=loop)
    rows = summarize(log.records)
    write_summary(folder / "deadline.csv", rows)
    print_table(rows, f"Push-T from frames at {hertz:g} Hz")
    draw(log.records, folder / "deadline.png")


if __name__ == "__main__":
    define_flags()
    app.run(main)
