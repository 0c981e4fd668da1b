"""stable-worldmodel's models and objectives as ours. Read by their attributes, never imported."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from grasp_jax._fields import Scalar
from grasp_jax._tree import PyTree, Record
from grasp_jax.objectives import Objective, QuadraticControlCost, squares
from grasp_jax.world_models import DinoWM, LeWM, load_dinowm, load_lewm
from grasp_jax.world_models._files import find_weights, read
from grasp_jax.world_models.weights import canonical

Model = LeWM | DinoWM


def as_model(given: Any) -> Model:
    """A JAX world model.

    Args:
      given: One already; the path of a checkpoint; a `state_dict`; a PyTorch LeWM, PLDM or PreJEPA;
        or stable-worldmodel's evaluator of one. Weights are copied.
    """
    if isinstance(given, (LeWM, DinoWM)):
        return given
    if isinstance(given, (str, pathlib.Path)):
        return load_dinowm(given) if _is_dinowm(read(find_weights(given))) else load_lewm(given)
    if getattr(given, "constraints", None):
        raise TypeError("PlannerSolver: plans under constraints are not supported; drop them.")
    # Our own wrappers are JAX pytrees, and more than the model that they hold.
    module = given if _is_pytree_node(given) else getattr(given, "model", given)
    if isinstance(module, (LeWM, DinoWM)):
        return module
    weights = module if isinstance(module, Mapping) else _state_dict(module)
    dino = _is_dinowm(weights)
    model = load_dinowm(weights) if dino else load_lewm(weights)
    return _with_encoder_of(module, "backbone" if dino else "encoder", model)


def _is_pytree_node(value: Any) -> bool:
    return not isinstance(value, Mapping) and not jax.tree_util.all_leaves([value])


def _is_dinowm(weights: Mapping[str, Any]) -> bool:
    return any(name.startswith("backbone.") for name in canonical(weights))


def _with_encoder_of(module: Any, name: str, model: Model) -> Model:
    """`model` with what the weights of a PyTorch encoder do not tell: its heads, its epsilon."""
    sizes = getattr(getattr(module, name, None), "config", None)
    heads, eps = (getattr(sizes, k, None) for k in ("num_attention_heads", "layer_norm_eps"))
    if heads is None or eps is None:
        return model
    encoder = dataclasses.replace(model.config.encoder, heads=heads, eps=eps)
    return type(model)(model.weights, dataclasses.replace(model.config, encoder=encoder))  # pyright: ignore


def _state_dict(module: Any) -> Mapping[str, Any]:
    method = getattr(module, "state_dict", None)
    if not callable(method):
        raise TypeError(
            "PlannerSolver: model must be a grasp_jax.world_models.LeWM or DinoWM, a PyTorch "
            f"module with the weights of one, or a state_dict, got {type(module).__name__}. Load "
            "a checkpoint with grasp_jax.world_models.load_lewm or load_dinowm."
        )
    return method()  # pyright: ignore[reportReturnType]


# Where a state holds what a rollout of theirs calls by this name.
_PARTS = {
    "predicted_emb": "",
    "predicted_pixels_emb": "patches",
    "predicted_proprio_emb": "proprio",
}


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class GoalDistance(Record):
    """Squared differences from the goal in one part of the state.

    Attributes:
      part: Name of a state's leaf; empty where the state is one array.
      mean: Whether to average, instead of to sum, over the numbers.
    """

    part: str = dataclasses.field(default="", metadata={"static": True})
    mean: bool = dataclasses.field(default=False, metadata={"static": True})

    def __call__(self, state: PyTree, goal: PyTree) -> jax.Array:
        """`[]`."""
        state, goal = (x[self.part] if self.part else x for x in (state, goal))
        if self.part == "proprio":
            # Every patch predicts its own copy; the authors read the first.
            state, goal = state[0], goal[0]
        gaps = squares(state - goal)
        return jnp.mean(gaps) if self.mean else jnp.sum(gaps)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class WeightedSum(Record):
    """A weighted sum of distances.

    Attributes:
      weights: Each `[]`, traced.
      terms: As many distances, `(state, goal) -> []`.
    """

    weights: tuple[Scalar, ...]
    terms: tuple[GoalDistance, ...]

    def __call__(self, state: PyTree, goal: PyTree) -> jax.Array:
        """`[]`."""
        parts = (w * d(state, goal) for w, d in zip(self.weights, self.terms, strict=True))
        return sum(parts, start=jnp.zeros(()))


def as_objective(given: Any, model: Model) -> Objective:
    """An objective of ours.

    Args:
      given: One already; or stable-worldmodel's, made of goal distances and control penalties.
      model: The model whose states it reads.

    Raises:
      TypeError: It holds a term that has no counterpart here.
    """
    if isinstance(given, Objective):
        return given
    pairs = _flatten(given, 1.0)
    effort = sum(w for w, term in pairs if hasattr(term, "action_key"))
    goals = [(w, term) for w, term in pairs if not hasattr(term, "action_key")]
    terms = tuple(_goal_distance(term, model) for _, term in goals)
    return Objective(
        terminal_cost=WeightedSum(tuple(w for w, _ in goals), terms),
        control_cost=QuadraticControlCost(effort) if effort else None,
    )


def _flatten(term: Any, weight: float) -> list[tuple[float, Any]]:
    """`(weight, term)` of every term of a nested weighted sum."""
    if not (hasattr(term, "weights") and hasattr(term, "objectives")):
        return [(weight, term)]
    inner = zip(term.weights, term.objectives, strict=True)
    return [pair for w, t in inner for pair in _flatten(t, weight * float(w))]


def _goal_distance(term: Any, model: Model) -> GoalDistance:
    part = _PARTS.get(getattr(term, "pred_key", None) or type(term).__name__)
    reads_parts = isinstance(model, DinoWM)
    if part is None or bool(part) != reads_parts or term.reduction not in ("sum", "mean"):
        key = getattr(term, "pred_key", None)
        raise TypeError(
            f"PlannerSolver: the objective {type(term).__name__} on {key!r} has no counterpart for "
            f"a {type(model).__name__}. Pass objective=grasp_jax.Objective(terminal_cost=...), a "
            "function of a state and a goal of the model, or model.objective, its authors' cost."
        )
    return GoalDistance(part, term.reduction == "mean")
