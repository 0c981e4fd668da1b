"""Single files of stable-worldmodel, which imports simulators and torchvision when it is imported.

Its released and its later layout are told apart by where files lie.
"""

import importlib.util
import pathlib
import sys
from typing import Any


def root() -> pathlib.Path:
    """The package's folder; raises where it is not installed."""
    spec = importlib.util.find_spec("stable_worldmodel")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("stable-worldmodel is not installed")
    return pathlib.Path(spec.origin).parent


def solvers() -> pathlib.Path:
    """The folder of its solvers."""
    later = root() / "planning" / "solver"
    return later if later.exists() else root() / "solver"


def load(path: pathlib.Path) -> Any:
    """One file, or one package of files that import each other relatively."""
    name = f"_package_{path.stem}"
    if name not in sys.modules:
        file = path / "__init__.py" if path.is_dir() else path
        places = [str(path)] if path.is_dir() else None
        spec = importlib.util.spec_from_file_location(name, file, submodule_search_locations=places)
        assert spec is not None and spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(sys.modules[name])
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]


def why_not() -> str | None:
    """Why its files cannot be loaded here, or None if they can."""
    try:
        load(solvers() / "callbacks")
    except Exception as error:  # a broken installation raises anything
        return f"{type(error).__name__}: {error}"
    return None


def whole() -> Any:
    """The package itself."""
    import stable_worldmodel  # pyright: ignore[reportMissingImports]

    return stable_worldmodel


def why_not_whole() -> str | None:
    """Why the package cannot be imported here, or None if it can."""
    try:
        whole()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None
