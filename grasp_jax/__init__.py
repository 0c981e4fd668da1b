"""Planning through learned world models, fast, in JAX.

The public names; see `grasp_jax.planning` for the door.
"""

import importlib
import importlib.metadata
from typing import Any

from grasp_jax import sharding
from grasp_jax.anytime import advance, read, rollout_cost, start, trajectory
from grasp_jax.arguments import make_problem
from grasp_jax.compiled_plan import CompiledPlan, compile_plan
from grasp_jax.goals import AnyGoal, Reached
from grasp_jax.init_states import BrownianBridge, GivenPath, Rollout, StraightLine, ViaPoints
from grasp_jax.mpc import MPC
from grasp_jax.mpc_state import MPCInfo, MPCState
from grasp_jax.noise import AR1, Colored, White
from grasp_jax.objectives import (
    Objective,
    QuadraticControlCost,
    mean_squared_distance,
    squared_distance,
)
from grasp_jax.planner import Planner, StepContext, StepInfo
from grasp_jax.planners.chain import Chain
from grasp_jax.planners.constrained import Constrained
from grasp_jax.planners.gradient import GD
from grasp_jax.planners.grasp import GRASP
from grasp_jax.planners.hops import Hops
from grasp_jax.planners.latco import LatCo, LatCoGaussNewton
from grasp_jax.planners.multi_start import MultiStart
from grasp_jax.planners.parallel_shooting import ParallelShooting
from grasp_jax.planners.portfolio import portfolio
from grasp_jax.planners.proposed import Proposed
from grasp_jax.planners.restarted import restarted_grasp
from grasp_jax.planners.sampling import CEM, ICEM, MPPI
from grasp_jax.planners.scaled import Scaled
from grasp_jax.planners.segments import Segments
from grasp_jax.planning import plan, plan_batch, solve
from grasp_jax.prepared import PreparedModel, RolloutModel
from grasp_jax.problem import Context, Problem
from grasp_jax.realtime import RealTimeMPC, RealTimeState, ThinkInfo
from grasp_jax.results import Metrics, Plan, Status
from grasp_jax.schedules import sawtooth_schedule
from grasp_jax.search import Search, SearchState
from grasp_jax.shooting import Correction
from grasp_jax.subgoals import SubgoalMPC

__all__ = [
    "AR1",
    "CEM",
    "GD",
    "GRASP",
    "ICEM",
    "MPC",
    "MPPI",
    "AnyGoal",
    "BrownianBridge",
    "Chain",
    "Colored",
    "CompiledPlan",
    "Constrained",
    "Context",
    "Correction",
    "GivenPath",
    "Hops",
    "LatCo",
    "LatCoGaussNewton",
    "MPCInfo",
    "MPCState",
    "Metrics",
    "MultiStart",
    "Objective",
    "ParallelShooting",
    "Plan",
    "Planner",
    "PreparedModel",
    "Problem",
    "Proposed",
    "QuadraticControlCost",
    "Reached",
    "RealTimeMPC",
    "RealTimeState",
    "Rollout",
    "RolloutModel",
    "Scaled",
    "Search",
    "SearchState",
    "Segments",
    "Status",
    "StepContext",
    "StepInfo",
    "StraightLine",
    "SubgoalMPC",
    "ThinkInfo",
    "ViaPoints",
    "White",
    "advance",
    "compile_plan",
    "make_problem",
    "mean_squared_distance",
    "plan",
    "plan_batch",
    "portfolio",
    "read",
    "restarted_grasp",
    "rollout_cost",
    "sawtooth_schedule",
    "sharding",
    "solve",
    "squared_distance",
    "start",
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
