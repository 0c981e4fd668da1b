"""World models of three sizes with random weights, and planning problems on them to time.

Sizes are those that people plan with: an MLP, LeWM's predictor (192 numbers per state, windows of
3 frames), DINO-WM's (75,264 patch numbers per state, windows of 3 frames). Time does not depend on
the values of weights.
"""

import dataclasses
import itertools
from typing import Any

import jax
import jax.numpy as jnp

import grasp_jax
from grasp_jax import rollout, world_models
from grasp_jax.problem import Context, Problem

ACTION_SIZE = 10
NAMES = ("mlp", "lewm", "dinowm")
_ROUNDED = ":bfloat16"


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class MLP:
    """A residual MLP with two hidden layers.

    Attributes:
      weights: `[D + A, H]`, `[H, H]` and `[H, D]`.
    """

    weights: list[jax.Array]

    @staticmethod
    def random(key: jax.Array, size: int = 32, hidden: int = 256) -> "MLP":
        """Random weights of a sensible scale."""
        sizes = (size + ACTION_SIZE, hidden, hidden, size)
        keys = jax.random.split(key, 3)
        shapes = zip(keys, itertools.pairwise(sizes), strict=True)
        return MLP([jax.random.normal(k, s) / s[0] ** 0.5 for k, s in shapes])

    def __call__(self, state: jax.Array, action: jax.Array) -> jax.Array:
        """`[D]` and `[A]` to `[D]`."""
        first, second, last = self.weights
        hidden = jnp.tanh(jnp.concatenate([state, action]) @ first)
        return state + 0.1 * jnp.tanh(hidden @ second) @ last


@dataclasses.dataclass(frozen=True)
class Workload:
    """A model and what a plan on it needs.

    Attributes:
      model: The dynamics.
      start: `[B, ...]` starts.
      goal: `[B, ...]` goals.
      context: Of all starts, leaves `[B, h-1, ...]`, or None.
      objective: The cost, or None for the squared distance.
      state_size: Numbers per state.
    """

    model: Any
    start: Any
    goal: Any
    context: Context | None
    objective: grasp_jax.Objective | None
    state_size: int

    def problem(self, horizon: int) -> Problem:
        """Goal 0 alone, from zero actions `[T, A]`."""
        start, goal, context = jax.tree.map(lambda x: x[0], (self.start, self.goal, self.context))
        actions = jnp.zeros((horizon, ACTION_SIZE))
        return grasp_jax.make_problem(
            self.model, start, goal, actions, objective=self.objective, context=context
        )


def make_model(name: str, seed: int = 0) -> Any:
    """A model by name: `mlp`, `mlp:SIZE`, `lewm`, `dinowm`; its weights are float32."""
    kind, _, size = name.partition(":")
    key = jax.random.key(seed)
    if kind == "mlp":
        return MLP.random(key, int(size or 32))
    if size and kind in NAMES:
        raise ValueError(f"no model {name!r}: only `{kind}` and `{kind}{_ROUNDED}`.")
    if kind == "lewm":
        return world_models.LeWM.random(key)
    if kind == "dinowm":
        encoder = dataclasses.replace(world_models.DinoWMConfig().encoder, image=196)
        config = world_models.DinoWMConfig(encoder=encoder, proprio_size=0)
        return world_models.DinoWM.random(key, config)
    raise ValueError(f"no model {name!r}; there are {', '.join(NAMES)} and mlp:SIZE.")


def make_workload(name: str, goals: int, seed: int = 0) -> Workload:
    """A model with random weights, and random starts and goals of the size of its states.

    `lewm:bfloat16` and `dinowm:bfloat16` are those models in `mixed_precision`.
    """
    model = make_model(name.removesuffix(_ROUNDED), seed)
    context = model.empty_context() if hasattr(model, "empty_context") else None
    if isinstance(model, MLP):
        like: Any = jnp.zeros(model.weights[2].shape[1])
    else:
        assert context is not None
        like = jax.tree.map(lambda x: x[0], context.states)
    leaves, treedef = jax.tree.flatten(like)
    keys = jax.random.split(jax.random.key(seed + 1), 2 * len(leaves)).reshape(2, -1)
    start, goal = (
        treedef.unflatten(
            [jax.random.normal(k, (goals, *x.shape)) for k, x in zip(row, leaves, strict=True)]
        )
        for row in keys
    )
    if context is not None:
        context = jax.tree.map(lambda x: jnp.broadcast_to(x, (goals, *x.shape)), context)
    size = sum(x.size for x in leaves)
    objective = getattr(model, "objective", None)
    if name.endswith(_ROUNDED):
        model = world_models.mixed_precision(model)
    return Workload(model, start, goal, context, objective, size)


def reachable(model: Any, horizon: int, seed: int) -> tuple[jax.Array, jax.Array]:
    """A start that the model itself has reached, and the end of random actions from there.

    Both `[D]`; a plan of cost zero exists.
    """
    first, middle, last = jax.random.split(jax.random.key(1000 + seed), 3)
    start = jax.random.normal(first, (model.config.latent,))

    def follow(start: jax.Array, key: jax.Array) -> jax.Array:
        actions = jax.random.normal(key, (horizon, ACTION_SIZE))
        problem = grasp_jax.make_problem(
            model, start, start, actions, context=model.empty_context()
        )
        return rollout.trajectory(problem, actions)[-1]

    follow = jax.jit(follow)
    start = follow(start, middle)
    return start, follow(start, last)
