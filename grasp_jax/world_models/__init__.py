"""Wrappers that turn a model into the `F(state, action)` that planners read."""

from grasp_jax.world_models.ensemble import MeanEnsemble, WorstCaseEnsemble, worst_case
from grasp_jax.world_models.repeat import ActionRepeat, StackedActions

__all__ = ["ActionRepeat", "MeanEnsemble", "StackedActions", "WorstCaseEnsemble", "worst_case"]
