import pathlib
import shutil
import subprocess

import pytest

from experiments.harness import version


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A checkout of one Python file, in place of the real one."""
    place = tmp_path / "experiments" / "harness" / "version.py"
    monkeypatch.setattr(version, "__file__", str(place))
    version.code_version.cache_clear()
    yield tmp_path
    version.code_version.cache_clear()


def commit(root: pathlib.Path) -> str:
    (root / "a.py").write_text("1")
    git = ["git", "-C", str(root), "-c", "user.name=a", "-c", "user.email=a@b"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "a"]):
        subprocess.run([*git, *arguments], check=True)
    found = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    return found.stdout[:10]


@pytest.mark.skipif(shutil.which("git") is None, reason="no git")
def test_the_commit_and_whether_its_code_was_changed(root):
    here = commit(root)
    (root / "results.jsonl").write_text("new results are no change of the code")
    assert version.code_version() == here
    version.code_version.cache_clear()
    (root / "a.py").write_text("2")
    assert version.code_version() == f"{here}-dirty"


def test_code_outside_git_is_unknown(root, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(root.parent))
    assert version.code_version() == "unknown"


def test_outside_git_the_environment_names_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_git(*_: str) -> str:
        raise OSError

    monkeypatch.setattr(version, "_git", no_git)
    for held, expected in ((None, "unknown"), ("abc123", "abc123")):
        version.code_version.cache_clear()
        if held:
            monkeypatch.setenv("CODE_VERSION", held)
        else:
            monkeypatch.delenv("CODE_VERSION", raising=False)
        assert version.code_version() == expected
    version.code_version.cache_clear()
