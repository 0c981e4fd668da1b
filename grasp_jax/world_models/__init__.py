"""World models that people plan through, and wrappers around a dynamics."""

from grasp_jax.world_models.dinowm import DinoWM, DinoWMConfig, PatchDistance
from grasp_jax.world_models.ensemble import (
    DisagreementEnsemble,
    MeanEnsemble,
    Uncertain,
    WorstCaseEnsemble,
    cautious,
    certain,
    worst_case,
)
from grasp_jax.world_models.lewm import LeWM, LeWMConfig
from grasp_jax.world_models.normalization import Normalization
from grasp_jax.world_models.precision import mixed_precision
from grasp_jax.world_models.repeat import ActionRepeat, StackedActions
from grasp_jax.world_models.vit import DINOV2_SMALL, ViTConfig
from grasp_jax.world_models.weights import load_dinowm, load_lewm, save

__all__ = [
    "DINOV2_SMALL",
    "ActionRepeat",
    "DinoWM",
    "DinoWMConfig",
    "DisagreementEnsemble",
    "LeWM",
    "LeWMConfig",
    "MeanEnsemble",
    "Normalization",
    "PatchDistance",
    "StackedActions",
    "Uncertain",
    "ViTConfig",
    "WorstCaseEnsemble",
    "cautious",
    "certain",
    "load_dinowm",
    "load_lewm",
    "mixed_precision",
    "save",
    "worst_case",
]
