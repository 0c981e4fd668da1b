"""Planning through learned world models, fast, in JAX.

The public names; see `grasp_jax.planning` for the door.
"""

import importlib
import importlib.metadata
from typing import Any

from grasp_jax import sharding
from grasp_jax.ahead import CompiledPlan, compile_plan
from grasp_jax.driver import Metrics, Plan, SearchState, Status
from grasp_jax.mpc import MPC, MPCState
from grasp_jax.noise import Colored, Correlated, White
from grasp_jax.objectives import (
    Objective,
    QuadraticActionCost,
    mean_squared_distance,
    squared_distance,
)
from grasp_jax.paths import BrownianBridge, GivenPath, Line, Rollout, ViaPoints
from grasp_jax.planners.base import Planner, Progress, Proposal, proposal
from grasp_jax.planners.compose import Chain, MultiStart
from grasp_jax.planners.gradient import GD
from grasp_jax.planners.grasp import GRASP, Sawtooth
from grasp_jax.planners.latco import LatCo, LatCoGN
from grasp_jax.planners.restarted import restarted_grasp
from grasp_jax.planners.sampling import CEM, ICEM, MPPI
from grasp_jax.planners.segments import Segments
from grasp_jax.planning import Search, advance, plan, plan_batch, read, start, start_batch
from grasp_jax.problem import Context, Problem
from grasp_jax.rollout import rollout_cost, trajectory

__all__ = [
    "CEM",
    "GD",
    "GRASP",
    "ICEM",
    "MPC",
    "MPPI",
    "BrownianBridge",
    "Chain",
    "Colored",
    "CompiledPlan",
    "Context",
    "Correlated",
    "GivenPath",
    "LatCo",
    "LatCoGN",
    "Line",
    "MPCState",
    "Metrics",
    "MultiStart",
    "Objective",
    "Plan",
    "Planner",
    "Problem",
    "Progress",
    "Proposal",
    "QuadraticActionCost",
    "Rollout",
    "Sawtooth",
    "Search",
    "SearchState",
    "Segments",
    "Status",
    "ViaPoints",
    "White",
    "advance",
    "compile_plan",
    "mean_squared_distance",
    "plan",
    "plan_batch",
    "proposal",
    "read",
    "restarted_grasp",
    "rollout_cost",
    "sharding",
    "squared_distance",
    "start",
    "start_batch",
    "trajectory",
]

try:
    __version__ = importlib.metadata.version("grasp_jax")
except importlib.metadata.PackageNotFoundError:  # a source tree on the path, not installed
    __version__ = "unknown"


def __getattr__(name: str) -> Any:
    """`grasp_jax.world_models` and `grasp_jax.integrations`, imported when they are first named."""
    if name in ("world_models", "integrations"):
        return importlib.import_module(f"grasp_jax.{name}")
    raise AttributeError(f"module 'grasp_jax' has no attribute {name!r}")
