"""The tutorial notebook runs from top to bottom, and has its pictures stored."""

import pathlib

import nbclient
import nbformat

NOTEBOOK = pathlib.Path(__file__).parents[3] / "experiments" / "tutorial" / "tutorial.ipynb"


def pictures(notebook: nbformat.NotebookNode) -> int:
    outputs = [o for cell in notebook.cells for o in cell.get("outputs", [])]
    return sum("image/png" in o.get("data", {}) for o in outputs)


def test_the_tutorial_runs_and_its_plans_arrive() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert pictures(notebook) == 3
    nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
    assert pictures(notebook) == 3
    printed = "".join(o.get("text", "") for c in notebook.cells for o in c.get("outputs", []))
    share = float(printed.partition("% of 1000 plans")[0].split()[-1])
    end = float(printed.partition("distance at the end: ")[2].split()[0])
    assert share > 80 and end < 0.4
