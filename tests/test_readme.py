"""Every Python snippet of the README runs, in order, in one namespace of its own section."""

import pathlib
import re

import pytest

README = pathlib.Path(__file__).parents[1] / "README.md"


def sections() -> list[tuple[str, str]]:
    """Title and joined Python snippets of each second-level section that has any."""
    found = []
    for part in re.split(r"^## ", README.read_text(), flags=re.M)[1:]:
        blocks = re.findall(r"^```python\n(.*?)^```", part, flags=re.M | re.S)
        if blocks:
            found.append((part.splitlines()[0], "\n".join(blocks)))
    return found


def test_the_readme_has_snippets() -> None:
    assert len(sections()) >= 3


@pytest.mark.parametrize(("title", "code"), sections(), ids=lambda x: x if "\n" not in x else "")
def test_snippet_runs(title: str, code: str) -> None:
    if re.search(r"^import .*\btorch\b", code, re.M):
        pytest.importorskip("torch")
    exec(compile(code, f"README: {title}", "exec"), {"__name__": "readme"})


TABLES = re.findall(r"<!-- table (\w+) -->", README.read_text())


@pytest.mark.parametrize("name", TABLES)
def test_the_tables_are_those_of_the_recorded_results(name: str) -> None:
    from experiments import tables

    shown = re.search(rf"<!-- table {name} -->\n(.*?)\n<!-- end -->", README.read_text(), re.S)
    assert shown is not None and shown[1] == getattr(tables, name)()
