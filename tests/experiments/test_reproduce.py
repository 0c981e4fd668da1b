"""Every line of every `reproduce.sh` names a command, and flags with values that it takes."""

import importlib
import pathlib
import shlex

import pytest
from absl import flags

import experiments

ROOT = pathlib.Path(experiments.__file__).parent
STUDIES = (
    "ball", "classics", "diagnostics", "gallery", "gradients", "latent", "live", "mazes",
    "ogbench", "pusht", "speed", "swm",
)  # fmt: skip


def commands(study: str) -> list[list[str]]:
    """The words of each command of a study's script."""
    text = (ROOT / study / "reproduce.sh").read_text().replace("\\\n", " ")
    lines = [shlex.split(line, comments=True) for line in text.splitlines()]
    known = (["set", "-euo", "pipefail"], ["cd", "$(dirname $0)/../.."])
    return [words for words in lines if words and words not in known]


def check(module: str, given: list[str]) -> None:
    """Raises where the command has no such flag, or the flag refuses the value."""
    command = importlib.import_module(module)
    before = set(flags.FLAGS)
    if hasattr(command, "define_flags"):
        command.define_flags()
    defined = set(flags.FLAGS) - before
    try:
        for word in given:
            name, has_value, value = word.removeprefix("--").partition("=")
            if not has_value and name not in defined:
                name = name.removeprefix("no")
            assert word.startswith("--") and name in defined, f"{module} has no flag {word}"
            assert has_value or flags.FLAGS[name].boolean, f"{word} needs a value"
            if has_value:
                flags.FLAGS[name].parser.parse(value)
    finally:
        for name in defined:
            delattr(flags.FLAGS, name)


@pytest.mark.parametrize("study", STUDIES)
def test_every_command_exists_and_takes_its_flags(study: str) -> None:
    found = commands(study)
    assert found
    for words in found:
        assert words[:2] == ["python", "-m"], words
        module = words[2]
        if (ROOT / pathlib.Path(*module.split(".")[1:]) / "__main__.py").exists():
            module += ".__main__"
        check(module, words[3:])


def test_a_flag_that_does_not_exist_is_found() -> None:
    with pytest.raises(AssertionError, match="has no flag --goal=3"):
        check("experiments.pusht.__main__", ["--goal=3"])
    with pytest.raises(ValueError, match="invalid literal"):
        check("experiments.pusht.__main__", ["--goals=many"])


def test_every_study_has_a_script() -> None:
    found = {path.parent.name for path in ROOT.glob("*/__main__.py")}
    assert found == set(STUDIES)
