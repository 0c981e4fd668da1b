"""The models' own methods, outside `plan`, for callers who forbid JAX's promotions."""

from typing import Any

import jax
import jax.numpy as jnp
import pytest

from grasp_jax import world_models
from grasp_jax.world_models import DinoWM, LeWM
from tests.world_models import golden

CLASSES: dict[str, Any] = {"lewm": LeWM, "dinowm": DinoWM}


def encoded(kind: str, model: Any) -> Any:
    x = golden.inputs(golden.CONFIGS[kind])
    extra = (x["proprio"],) if kind == "dinowm" else ()
    return model.encode(x["pixels"], *extra)


def everything(kind: str) -> list:
    """Every public method and wrapper on windows of three frames, or on one where they take one."""
    model = CLASSES[kind].random(jax.random.key(0), golden.CONFIGS[kind])
    states = encoded(kind, model)
    actions, present = jnp.ones((3, 4)), jnp.array([False, True, True])
    one = jax.tree.map(lambda x: x[0], states)
    members = jax.tree.map(lambda x: jnp.stack([x, 2 * x]), model)
    worst, objective = world_models.WorstCaseEnsemble(members), model.objective
    return [
        states,
        model(states, actions),
        model(states, actions, present),
        model(one, actions[0]),
        model.step_prepared(states, model.prepare_actions(actions)),
        model.empty_context(),
        objective.terminal_cost(one, jax.tree.map(lambda x: x[1], states)),
        world_models.mixed_precision(model)(states, actions, present),
        world_models.MeanEnsemble(members)(states, actions),
        worst(worst.replicate(one, 2), actions[0]),
        world_models.StackedActions(model, 2)(one, jnp.ones(8)),
        world_models.ActionRepeat(model, 2)(one, actions[0]),
    ]


@pytest.mark.parametrize("kind", CLASSES)
def test_nothing_promotes(kind: str):
    """The same program is traced, so that the values are the same."""
    expected = str(jax.make_jaxpr(lambda: everything(kind))())
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        assert str(jax.make_jaxpr(lambda: everything(kind))()) == expected
