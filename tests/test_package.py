"""What is shipped: the files of the package, and a wheel that works without the tree."""

import importlib.resources
import os
import pathlib
import re
import subprocess
import sys
import tarfile
import venv
import zipfile

import pytest

ROOT = pathlib.Path(__file__).parents[1]
SHIPPED = ("py.typed", "LICENSE", "CHANGELOG.md", "GUIDE.md")


@pytest.mark.parametrize("name", SHIPPED)
def test_the_package_holds_its_files(name: str) -> None:
    assert importlib.resources.files("grasp_jax").joinpath(name).is_file()


def test_the_changelog_is_of_this_version() -> None:
    version = re.search(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.M)
    assert version
    assert f"## {version[1]} " in (ROOT / "grasp_jax" / "CHANGELOG.md").read_text()


@pytest.mark.slow
def test_a_wheel_and_an_sdist_build_and_the_first_example_runs_from_the_wheel(
    tmp_path: pathlib.Path,
) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    source = tmp_path / "source"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(source)], check=True)
    subprocess.run([*pip, "wheel", "--no-deps", "-w", str(tmp_path), str(source)], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    held = zipfile.ZipFile(wheel).namelist()
    assert {f"grasp_jax/{name}" for name in SHIPPED} <= set(held)
    assert not [name for name in held if name.startswith(("experiments", "tests"))]

    backend = "from setuptools.build_meta import build_sdist; print(build_sdist('..'))"
    home = tmp_path / "home"
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    inside = [str(python), "-m", "pip", "--disable-pip-version-check", "-q", "install"]
    subprocess.run([*inside, "setuptools>=77", str(wheel)], check=True)
    subprocess.run([str(python), "-c", backend], cwd=source, check=True)
    (sdist,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        assert any(name.endswith("grasp_jax/GUIDE.md") for name in archive.getnames())

    example = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)[0]
    elsewhere = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    found = subprocess.run(
        [str(python), "-c", example + "\nprint(grasp_jax.__file__, grasp_jax.__version__)"],
        cwd=tmp_path, env=elsewhere, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    assert str(home) in found and found.split()[-1] == "0.2.0"
