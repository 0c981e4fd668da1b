"""Every Python snippet of README and guide runs, in order, in one namespace of its section."""

import contextlib
import functools
import io
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[1]
README, GUIDE = ROOT / "README.md", ROOT / "grasp_jax" / "GUIDE.md"
MARKED = re.compile(r"<!-- table (\w+) -->\n(.*?)\n<!-- end -->", re.S)
PAGES = (README, *sorted((ROOT / "experiments").glob("**/README.md")))


def sections() -> list[tuple[str, str]]:
    """Title and joined Python snippets of each second-level section that has any."""
    found = []
    for file in (README, GUIDE):
        for part in re.split(r"^## ", file.read_text(), flags=re.M)[1:]:
            blocks = re.findall(r"^```python\n(.*?)^```", part, flags=re.M | re.S)
            if blocks:
                found.append((f"{file.stem}: {part.splitlines()[0]}", "\n".join(blocks)))
    return found


def test_readme_and_guide_have_snippets() -> None:
    assert len(sections()) >= 9


@pytest.mark.parametrize(("title", "code"), sections(), ids=lambda x: x if "\n" not in x else "")
def test_snippet_runs(title: str, code: str) -> None:
    if re.search(r"^import .*\btorch\b", code, re.M):
        pytest.importorskip("torch")
    exec(compile(code, title, "exec"), {"__name__": "readme"})


def tables_shown() -> list[tuple[str, str, str]]:
    """File, name and text of every table that a command prints."""
    return [(f.parent.name, *found) for f in PAGES for found in MARKED.findall(f.read_text())]


def test_every_local_link_leads_somewhere() -> None:
    for page in (*PAGES, GUIDE, ROOT / "BUILD_NOTES.md"):
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
            assert link.startswith("https://") or (page.parent / link).exists(), (page, link)


def test_every_test_that_the_notes_name_is_there() -> None:
    notes = (ROOT / "BUILD_NOTES.md").read_text()
    named = re.findall(r"(?<=[| ,])(?:\w+/)*test_\w+(?=[, ])", notes)
    assert len(named) > 30
    assert not [name for name in named if not (ROOT / "tests" / f"{name}.py").exists()]


@functools.cache
def tables_printed() -> dict[str, str]:
    """Name and text of every table that the command prints."""
    from experiments import tables

    with contextlib.redirect_stdout(io.StringIO()) as printed:
        tables.main()
    return dict(MARKED.findall(printed.getvalue()))


def test_the_command_prints_every_table_shown() -> None:
    assert {name for _, name, _ in tables_shown()} <= tables_printed().keys()


@pytest.mark.parametrize(("file", "name", "text"), tables_shown(), ids=lambda x: x[:25])
def test_the_tables_are_those_of_the_recorded_results(file: str, name: str, text: str) -> None:
    assert text == tables_printed()[name], f"{name} in the README of {file} is out of date"
