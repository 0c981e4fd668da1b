import csv
import json

import numpy as np
import pytest

from experiments.harness import log as log_file
from experiments.harness import plots
from experiments.harness.files import replacing
from experiments.harness.log import LOGS, ResultLog, read_results
from experiments.harness.progress import progress
from experiments.harness.tables import COLUMNS, print_table, wilson_interval, write_summary
from experiments.harness.version import code_version

CODE = {"code": code_version()}
ROW = {"planner": "GRASP", "horizon": 40, "goals": 10, "success": 0.5, "extra": 1.25}


@pytest.mark.parametrize(
    ("successes", "trials", "expected"),
    [(5, 10, (0.2366, 0.7634)), (0, 10, (0.0, 0.2775)), (10, 10, (0.7225, 1.0)), (0, 0, (0, 1))],
)
def test_wilson_interval_has_the_known_values(successes, trials, expected):
    assert wilson_interval(successes, trials) == pytest.approx(expected, abs=5e-5)


def test_log_resumes_with_what_was_finished(tmp_path):
    path = tmp_path / "deep" / "results.jsonl"
    log = ResultLog(path, key_fields=("planner", "goal"))
    log.append({"planner": "GD", "goal": np.int64(3), "cost": np.float32(0.5)})
    again = ResultLog(path, key_fields=("planner", "goal"))
    expected = {**CODE, "planner": "GD", "goal": 3, "cost": 0.5}
    assert again.records == log.records == [expected]
    assert again.done(planner="GD", goal=3) and again.done(planner="GD", goal=np.int64(3))
    assert not again.done(planner="GD", goal=4)
    assert again.lookup(planner="GD", goal=3) == expected
    with pytest.raises(ValueError, match="key fields"):
        again.done(planner="GD")


@pytest.mark.parametrize("torn", ['{"planner": "GD", "go', '{"planner": "GD", "goal": 1}', "{"])
def test_log_drops_a_torn_last_line_and_goes_on(tmp_path, torn):
    path = tmp_path / "results.jsonl"
    path.write_text('{"planner": "GD", "goal": 0}\n' + torn)
    log = ResultLog(path, key_fields=("planner", "goal"))
    assert [r["goal"] for r in log.records] == [0]
    log.append({"planner": "GD", "goal": 1})
    assert [json.loads(x)["goal"] for x in path.read_text().splitlines()] == [0, 1]


def test_log_refuses_a_file_that_is_broken_in_the_middle(tmp_path):
    path = tmp_path / "results.jsonl"
    path.write_text('not json\n{"planner": "GD"}\n')
    with pytest.raises(ValueError, match="line 1"):
        ResultLog(path, key_fields=("planner",))


def test_log_refuses_a_record_without_its_key_before_writing(tmp_path):
    log = ResultLog(tmp_path / "results.jsonl", key_fields=("planner", "goal"))
    with pytest.raises(KeyError):
        log.append({"planner": "GD"})
    assert not log.path.exists()


def test_summary_has_the_usual_columns_that_are_filled_then_extras(tmp_path):
    path = tmp_path / "summary.csv"
    write_summary(path, [ROW, {"planner": "CEM", "success": None, "never": None}])
    with path.open() as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    filled = [name for name in COLUMNS if name in ROW]
    assert len(filled) < len(COLUMNS) and reader.fieldnames == [*filled, "extra"]
    assert rows[0]["success"] == "0.5"
    assert rows[1]["success"] == "" and rows[1]["extra"] == ""


def test_table_shows_percent_and_interval(capsys):
    print_table([{**ROW, "success_low": 0.2366, "success_high": 0.7634}], title="A title")
    out = capsys.readouterr().out
    assert "50 [24–76]" in out and "A title" in out and "GRASP" in out


def test_figures_are_written(tmp_path):
    rows = [
        {"planner": name, "horizon": h, "goals": 20, "success": share}
        for name, share in [("GRASP", 0.6), ("CEM", 0.5), ("zero_action", 0.0)]
        for h in (40, 50)
    ]
    plots.success_against_horizon(rows, tmp_path / "horizon.png", "title")
    plots.success_against_time({"GRASP": ([0.1, 1.0], [0.2, 0.6])}, tmp_path / "time.png", "title")
    plots.save_gif(
        [np.zeros((8, 8, 3), np.uint8), np.ones((8, 8, 3), np.uint8)], tmp_path / "a.gif"
    )
    assert all((tmp_path / n).stat().st_size > 0 for n in ("horizon.png", "time.png", "a.gif"))


def test_a_planner_has_one_color():
    colors = [plots.color(name) for name in ("GRASP", "CEM", "iCEM", "something new")]
    assert len(set(colors)) == len(colors)
    assert [plots.color(name) for name in ("GRASP", "something new")] == [colors[0], colors[3]]


def test_log_reads_what_other_processes_wrote_and_leaves_their_torn_line(tmp_path):
    other = ResultLog(tmp_path / "results.1.jsonl", ("goal",))
    other.append({"goal": 1, "success": True})
    with other.path.open("a") as file:
        file.write('{"goal": 3, "succ')
    written = other.path.read_bytes()
    log = ResultLog(tmp_path / "results.0.jsonl", ("goal",), others=[other.path])
    log.append({"goal": 0, "success": False})
    assert log.done(goal=0) and log.done(goal=1) and not log.done(goal=3)
    assert other.path.read_bytes() == written
    assert log.path.read_text().count("\n") == 1


def test_a_packed_log_is_read_as_before_and_goes_on(tmp_path):
    path = tmp_path / "results.jsonl"
    log = ResultLog(path, ("goal",))
    log.append({"goal": 0, "cost": 1})
    log.append({"goal": 1, "cost": 2})
    log.pack()
    assert [p.name for p in tmp_path.iterdir()] == ["results.jsonl.gz"]
    log = ResultLog(path, ("goal",))
    assert log.done(goal=0) and log.done(goal=1)
    log.append({"goal": 1, "cost": 3})
    log.append({"goal": 2, "cost": 4})
    packed = {**CODE, "goal": 0, "cost": 1}, {**CODE, "goal": 1, "cost": 2}
    later = {**CODE, "goal": 1, "cost": 3}, {**CODE, "goal": 2, "cost": 4}
    assert read_results(tmp_path) == [*packed, *later]
    known = [packed[0], *later]
    assert ResultLog(path, ("goal",)).records == known
    # Another process of the sweep reads both, too.
    files = sorted(tmp_path.glob(LOGS))
    assert ResultLog(tmp_path / "results.1.jsonl", ("goal",), others=files).records == known
    # As after a kill between the archive and the removal of what it now holds.
    path.write_text(path.read_text() + path.read_text())
    ResultLog(path).pack()
    assert read_results(tmp_path) == [*packed, *later] and not path.exists()


def test_what_was_packed_counts_no_more_and_no_less(tmp_path):
    for name, cost in (("results.0.jsonl", 1), ("results.jsonl", 2)):
        (tmp_path / name).write_text(f'{{"goal": 0, "cost": {cost}}}\n')
    (tmp_path / "results.jsonl.bak").write_text("no log")
    before = read_results(tmp_path)
    ResultLog(tmp_path / "results.jsonl").pack()
    assert read_results(tmp_path) == before == [{"goal": 0, "cost": 1}, {"goal": 0, "cost": 2}]


def test_of_two_records_of_one_piece_of_work_the_last_counts(tmp_path):
    path = tmp_path / "results.jsonl"
    path.write_text('{"goal": 0, "cost": 1}\n{"goal": 1, "cost": 2}\n{"goal": 0, "cost": 3}\n')
    log = ResultLog(path, ("goal",))
    assert log.records == [{"goal": 0, "cost": 3}, {"goal": 1, "cost": 2}]


def test_opening_a_log_keeps_what_another_process_writes_meanwhile(tmp_path, monkeypatch):
    path = tmp_path / "results.jsonl"
    path.write_text('{"goal": 0}\n{"go')

    def other_process(_: float) -> None:
        with path.open("a") as file:
            file.write('al": 1}\n')

    monkeypatch.setattr(log_file.time, "sleep", other_process)
    assert [r["goal"] for r in ResultLog(path, ("goal",)).records] == [0, 1]
    assert path.read_text().count("\n") == 2


def test_a_write_that_fails_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "new" / "a.txt"
    for text in ("one", "two"):
        with replacing(path) as temporary:
            temporary.write_text(text)
    with pytest.raises(KeyboardInterrupt), replacing(path) as temporary:
        temporary.write_text("torn")
        raise KeyboardInterrupt
    assert path.read_text() == "two" and [p.name for p in path.parent.iterdir()] == ["a.txt"]


def test_away_from_a_terminal_every_finished_piece_is_a_line(capsys):
    with progress(5, "title") as bar:
        bar(2, "first")
        bar(3, "second")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("] ")[1] for line in lines] == ["2 of 5: first", "5 of 5: second"]
