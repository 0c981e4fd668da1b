r"""OGBench's point mazes: long ways through a graph over recorded states.

    python -m experiments.ogbench.collect --output=data/ogbench      # once, ten minutes
    python -m experiments.ogbench.train --data=data/ogbench          # once, minutes
    python -m experiments.ogbench --data=data/ogbench --mazes=giant --episodes=5
    python -m experiments.ogbench --data=data/ogbench --tune         # candidates of the baselines
    python -m experiments.ogbench --data=data/ogbench --observation=pixels --mazes=giant

Drives the benchmark's five fixed tasks in its own simulator under its own success rule, writes one
JSON line per episode, resumes after a kill, and prints the table. `reproduce.sh` has the commands
of the recorded results.
"""

import itertools
import pathlib
from collections.abc import Iterator, Sequence

from absl import app, flags
from tqdm import tqdm

from experiments.environments import ogbench_data, ogbench_maze
from experiments.harness.flags import begin
from experiments.harness.log import Record, ResultLog, read_results
from experiments.harness.summary import summarise
from experiments.harness.tables import print_table, write_summary
from experiments.ogbench import planners, runs, train, worlds

KEY_FIELDS = ("environment", "mode", "planner", "seed", "goal")
TUNING_SEED = 9
RUNS = {"open": runs.open_loop, "closed": runs.closed_loop}


def define_flags() -> None:
    """Defines the flags; apart from the import, so that binaries can share a process."""
    flags.DEFINE_string("data", "data/ogbench", "Folder of the recordings.")
    flags.DEFINE_string("models", str(train.CHECKPOINTS), "Folder of the world models.")
    flags.DEFINE_string("output", "outputs/ogbench_states", "Folder of the results.")
    flags.DEFINE_string("log", "results.jsonl", "Log in it; processes side by side need one each.")
    flags.DEFINE_list("mazes", list(ogbench_maze.MAZES), "Which mazes.")
    flags.DEFINE_list("kinds", list(ogbench_data.KINDS), "navigate, stitch.")
    flags.DEFINE_enum("observation", "state", ["state", "pixels"], "What the planner sees.")
    flags.DEFINE_list("modes", ["open", "closed"], "open, closed.")
    flags.DEFINE_list("rows", ["GRASP-graph"], "Rows of `planners.rows`, or all.")
    flags.DEFINE_integer("episodes", 5, "Episodes of each of the five tasks.", 1)
    flags.DEFINE_list("seeds", ["0"], "The benchmark's own protocol has 0,1,2 and 50 episodes.")
    flags.DEFINE_bool("tune", False, "Score the candidates of the open-loop baselines instead.")


def tuning_rows() -> dict[str, planners.Row]:
    """Every candidate as a row that follows the graph's path."""
    return {
        f"{name}-graph-{i}": planners.Row(f"{name}-graph-{i}", "graph", shooting=planner)
        for name, tried in planners.candidates().items()
        for i, planner in enumerate(tried)
    }


def drive(
    world: worlds.World, mode: str, row: planners.Row, seed: int, log: ResultLog
) -> Iterator[Record]:
    """Records of the episodes that the log does not hold yet."""
    name = f"pointmaze-{world.maze}-{world.kind}"
    chosen = [
        case
        for case in runs.cases(world.maze, seed, flags.FLAGS.episodes)
        if not log.done(
            environment=name, mode=f"{mode}_loop", planner=row.name, seed=seed, goal=case.number
        )
    ]
    return RUNS[mode](world, row, chosen)


def table(folder: pathlib.Path) -> list[Record]:
    """One line per maze, recording, mode and planner, from all logs of a folder."""
    records = {tuple(r[k] for k in KEY_FIELDS): r for r in read_results(folder)}
    groups: dict[str, list[Record]] = {}
    for record in records.values():
        groups.setdefault(record["environment"], []).append(record)
    return [row for name in sorted(groups) for row in summarise(groups[name])]


def main(argv: Sequence[str]) -> None:
    """Drives, prints, writes the summary."""
    begin(argv)
    args = flags.FLAGS
    folder = pathlib.Path(args.output)
    logs = set(folder.glob("results*.jsonl*"))
    log = ResultLog(folder / ("tuning.jsonl" if args.tune else args.log), KEY_FIELDS, logs)
    for maze, kind in itertools.product(args.mazes, args.kinds):
        load = worlds.load if args.observation == "state" else worlds.load_seen
        world = load(args.data, args.models, maze, kind)
        for mode in ["open"] if args.tune else args.modes:
            rows = tuning_rows() if args.tune else planners.rows(mode)
            names = list(rows) if args.tune or args.rows == ["all"] else args.rows
            for name, seed in itertools.product([n for n in names if n in rows], args.seeds):
                seed = TUNING_SEED if args.tune else int(seed)
                records = drive(world, mode, rows[name], seed, log)
                for record in tqdm(records, desc=f"{maze} {kind} {mode} {name} {seed}"):
                    log.append(record)
    if not args.tune:
        found = table(folder)
        write_summary(folder / "summary.csv", found)
        print_table(found, "OGBench point mazes", ("environment", "mode", "planner", "goals",
                    "success", "plan_seconds"))  # fmt: skip


if __name__ == "__main__":
    define_flags()
    app.run(main)
