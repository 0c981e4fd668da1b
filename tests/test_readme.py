"""Every Python snippet of README and guide runs, in order, in one namespace of its section."""

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[1]
README, GUIDE = ROOT / "README.md", ROOT / "grasp_jax" / "GUIDE.md"
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
    marked = re.compile(r"<!-- table (\w+) -->\n(.*?)\n<!-- end -->", re.S)
    return [(f.parent.name, *found) for f in PAGES for found in marked.findall(f.read_text())]


def test_every_local_link_leads_somewhere() -> None:
    for page in (*PAGES, GUIDE, ROOT / "BUILD_NOTES.md"):
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
            assert link.startswith("https://") or (page.parent / link).exists(), (page, link)


def test_the_command_prints_every_table_shown(capsys: pytest.CaptureFixture[str]) -> None:
    from experiments import tables

    tables.main()
    printed = set(re.findall(r"<!-- table (\w+) -->", capsys.readouterr().out))
    assert {name for _, name, _ in tables_shown()} <= printed


@pytest.mark.parametrize(("file", "name", "text"), tables_shown(), ids=lambda x: x[:25])
def test_the_tables_are_those_of_the_recorded_results(file: str, name: str, text: str) -> None:
    from experiments import tables

    assert text == tables.TABLES[name](), f"{name} in the README of {file} is out of date"
