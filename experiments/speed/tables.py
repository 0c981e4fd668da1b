"""The tables of times, which `experiments.tables` prints with the others."""

from experiments.harness.log import ResultLog
from experiments.harness.tables import RESULTS, markdown, read_summary
from experiments.speed.pictures import short_name


def _brief(milliseconds: float) -> str:
    """Whole milliseconds, tenths of the first few."""
    return f"{milliseconds:.1f}" if milliseconds < 5 else f"{milliseconds:.0f}"


def in_short() -> str:
    """The README's figures: a lifted iteration beside its model, whole plans, a deadline."""
    folders = ("benchmark", "benchmark_gpu")
    bare, loops = [], []
    for folder in folders:
        found = [r for r in read_summary(folder) if r["model"] == "lewm" and r["ratio"]]
        ratios = [float(r["ratio"]) for r in found if "H100" not in r["device"]]
        bare.append(f"{min(ratios):.2f} to {max(ratios):.2f}")
        found = ResultLog(RESULTS / folder / "torch.jsonl").records
        times = [r["loop_over_ours"] for r in found if r["horizon"] == 60]
        loops.append(f"{min(times):.3g} to {max(times):.3g}")
    alone = [
        {r["planner"]: r["plan_seconds"] for r in read_summary(f"pusht_pixels_{name}")}
        for name in ("alone", "h200")
    ]
    plans = [[f"{float(rows[name]):.2f}" for rows in alone] for name in ("GRASP", "GRASP-wide")]
    real, waiting = read_summary("benchmark/deadline")
    late = f"{real['missed']} of {real['control_steps']} steps late, "
    late += f"{100 * float(real['success']):.0f}% of {real['episodes']} goals; "
    late += f"{100 * float(waiting['success']):.0f}% where the world waits"
    pixels = "Push-T from pixels, one goal alone, s per plan:"
    rows = [
        ["a lifted iteration over forward and action-gradient of its model, LeWM's size", *bare],
        ["PyTorch's loop over `T` = 60 steps over a lifted iteration, LeWM's size", *loops],
        [f"{pixels} `restarted_grasp`", *plans[0]],
        [f"{pixels} eight times the starts", *plans[1]],
        ["Push-T from pixels, replanned at 10 Hz", late, ""],
    ]
    return markdown(["", "one CPU core", "H200"], rows)


def speed_torch(folder: str = "benchmark") -> str:
    """One LeWM-size plan beside textbook PyTorch, milliseconds, and how many times faster."""
    found = ResultLog(RESULTS / folder / "torch.jsonl").records
    records = sorted(found, key=lambda r: (r["frames"], r["horizon"]))
    header = ["frames", "T", "lifted iteration", "PyTorch loop over T", "PyTorch batched over T"]
    header += ["sync step", "PyTorch"]
    lines = []
    for r in records:
        beside = (
            ("torch_loop_ms", "loop_over_ours"),
            ("torch_batched_ms", "batched_over_ours"),
            ("torch_sync_step_ms", "sync_over_ours"),
        )
        loop, batched, sync = (f"{r[ms]:.0f} ({r[ratio]:.1f}x)" for ms, ratio in beside)
        ours = _brief(r["lifted_ms"]), f"{r['sync_step_ms']:.0f}"
        cells = [str(r["frames"]), str(r["horizon"]), ours[0], loop, batched, ours[1], sync]
        lines.append(cells)
    return markdown(header, lines)


def speed_gpu() -> str:
    """GRASP on GPUs: iterations beside the bare model, and plans per second."""
    found = ResultLog(RESULTS / "benchmark_gpu" / "results.jsonl").records
    # The MLP's are in summary.csv: so small a model is bound by its number of kernels.
    found = [r for r in found if r["model"] != "mlp"]
    order = ("lewm", "lewm:bfloat16", "dinowm")
    records = sorted(
        found,
        key=lambda r: (
            order.index(r["model"]), r["horizon"], r["goals"], r["device"], r["loops"],
        ),
    )  # fmt: skip
    header = ["model", "T", "goals", "GPU", "per call", "lifted iteration", "forward and VJP"]
    header += ["ratio", "sync step"]
    lines = [
        [
            r["model"],
            str(r["horizon"]),
            str(r["goals"]),
            short_name(r["device"]),
            str(r["loops"]),
            f"{r['iteration_ms']:.2f}",
            f"{r['forward_vjp_ms']:.2f}" if "ratio" in r else "",
            f"{r['ratio']:.2f}" if "ratio" in r else "",
            f"{r['sync_step_ms']:.1f}",
            f"{r['plan_seconds']:.1f}",
            f"{r['plans_per_second']:.3g}",
        ]
        for r in records
    ]
    return markdown([*header, "s per batch of plans", "plans per second"], lines)


def plans_gpu() -> str:
    """Whole plans at LeWM's size on a GPU: time, cost and depth, means over the goals planned."""
    records = ResultLog(RESULTS / "benchmark_gpu" / "plans.jsonl").records
    records.sort(key=lambda r: (-r["horizon"], r["goals"], r["plan_ms"]))
    header = ["T", "planner", "model steps in series", "s per plan", "cost", "goals"]
    lines = []
    for r in records:
        reached = [ms for ms in r["ms_to_author"] if ms is not None]
        shown = ", ".join(f"{1e-3 * ms:.1f}" for ms in reached)
        lines.append(
            [
                str(r["horizon"]),
                r["row"],
                str(r["depth"]),
                f"{1e-3 * r['plan_ms']:.2f}",
                f"{sum(r['costs']) / len(r['costs']):.1f}",
                str(len(r["costs"])),
                "" if r["row"] == "GRASP" else shown or ("-" if r["ms_to_author"] else ""),
            ]
        )
    return markdown([*header, "s to the cost of GRASP()"], lines)


def compiling() -> str:
    """Seconds and kernels of compiled programs, and their ratio to one gradient's."""
    records = ResultLog(RESULTS / "benchmark" / "compiling.jsonl").records
    models = ("pusht", "lewm", "mlp")
    cells = {(r["label"], r["model"], r["row"]): r for r in records}
    names = list(dict.fromkeys(r["row"] for r in records))
    lines = []
    for name in names:
        line = [f"`{name}`" if name.endswith("()") else name]
        for model in models:
            r, one = cells.get(("now", model, name)), cells["now", model, "gradient"]
            if r is None:
                line.append("")
                continue
            total, unit = (x["trace_seconds"] + x["compile_seconds"] for x in (r, one))
            line.append(f"{total:.1f} ({total / unit:.1f}x), {r['fusions']}")
        lines.append(line)
    return markdown(["", *(f"{m}: CPU s, kernels" for m in models)], lines)


def parallel_gpu() -> str:
    """A gradient of the rollout cost on a GPU, serial and parallel in time."""
    records = ResultLog(RESULTS / "benchmark_gpu" / "parallel.jsonl").records
    header = ["numbers per state", "T", "serial", "parallel", "sweeps"]
    lines = [
        [
            str(r["state_size"]),
            str(r["horizon"]),
            f"{r['serial_ms']:.2f} ms",
            f"{r['parallel_ms']:.2f} ms ({r['serial_ms'] / r['parallel_ms']:.1f}x)",
            str(r["sweeps"]),
        ]
        for r in records
    ]
    return markdown(header, lines)


def pusht_pixels_alone() -> str:
    """Push-T from pixels, a goal planned alone: on a GPU, and on a CPU core."""
    found = [read_summary(f"pusht_pixels_{name}") for name in ("h200", "alone")]
    header = ["planner", "success, H200", "s to success", "s per plan"]
    header += ["success, CPU core", "s to success", "s per plan"]
    lines = []
    for name in ("iCEM", "GRASP", "GRASP-wide"):
        row = [name]
        for rows in found:
            (one,) = (r for r in rows if r["planner"] == name)
            row.append(f"{100 * float(one['success']):.0f}")
            row += [f"{float(one[k]):.3f}" for k in ("median_seconds", "plan_seconds")]
        lines.append(row)
    return markdown(header, lines)


def swm_timings() -> str:
    """One row per planner: seconds per plan at each horizon, and what was timed."""
    rows = read_summary("swm_timings")
    horizons = sorted({int(row["horizon"]) for row in rows})
    cells = {(row["planner"], int(row["horizon"])): row for row in rows}
    header = ["planner", *(f"T = {h}" for h in horizons), "compilation", "iterations timed"]
    lines = []
    longest = [row for row in rows if int(row["horizon"]) == horizons[-1]]
    for row in longest:
        name, compilation = row["planner"], row["compile_seconds"]
        found = (cells.get((name, h), {}).get("median_seconds") for h in horizons)
        shown = [f"{float(x):.1f} s" if x else "" for x in found]
        shown += [f"{float(compilation):.0f} s" if compilation else "", row["measured_iterations"]]
        lines.append([name, *shown])
    return markdown(header, lines)


def depth() -> str:
    """Segments side by side: what they reach at the end, and how soon what `GD` does."""
    lines = []
    for row in read_summary("benchmark/depth"):
        reached = row["depth_to_success_of_GD"]
        lines.append(
            [
                f"`{row['planner']}`" if row["planner"] == "GD" else row["planner"],
                row["rate"],
                row["depth"],
                f"{100 * float(row['success']):.0f}",
                f"{float(row['mean_cost']):.2f}",
                str(int(float(reached))) if reached else "not",
            ]
        )
    header = ["", "rate", "model steps in series", "success, %", "mean cost"]
    return markdown([*header, "depth at which `GD`'s success is reached"], lines)
