"""Our LeWM and DINO-WM against the public PyTorch ones, with the same random weights."""

import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import grasp_jax
from experiments.models import reference
from grasp_jax.rollout import trajectory
from grasp_jax.world_models import DINOV2_SMALL, DinoWMConfig, LeWMConfig, ViTConfig, weights

REASON = reference.why_not()
pytestmark = pytest.mark.skipif(REASON is not None, reason=f"no PyTorch reference: {REASON}")

TOLERANCE = {"float32": 1e-5, "float64": 1e-12}
LEWM = LeWMConfig(
    action_size=6,
    latent=64,
    depth=2,
    heads=2,
    hidden=96,
    encoder=ViTConfig(width=64, depth=2, heads=1, hidden=96, patch=7, image=28, pos_grid=4),
)
DINOWM = DinoWMConfig(
    action_size=6,
    depth=2,
    heads=2,
    hidden=96,
    encoder=ViTConfig(
        width=64, depth=2, heads=1, hidden=128, patch=7, image=28, pos_grid=6, eps=1e-6, dinov2=True
    ),
)
FULL = pytest.mark.slow
precisions = pytest.mark.parametrize("precision", ["float32", "float64"])
lewms = pytest.mark.parametrize("config", [LEWM, pytest.param(LeWMConfig(), marks=FULL)])
dinowms = pytest.mark.parametrize(
    "config",
    [
        DINOWM,
        DinoWMConfig(**{**DINOWM.__dict__, "proprio_size": 0}),
        pytest.param(
            DinoWMConfig(encoder=ViTConfig(**{**DINOV2_SMALL.__dict__, "image": 112})), marks=FULL
        ),
    ],
)


def pair(kind: str, config: Any, precision: str, folder: pathlib.Path) -> tuple[Any, Any]:
    """The reference and ours, imported from the file that the reference was saved to."""
    import torch  # pyright: ignore[reportMissingImports]

    theirs = getattr(reference, kind)(config)
    torch.save(theirs.state_dict(), folder / "weights.pt")
    load = weights.load_dinowm if kind == "dinowm" else weights.load_lewm
    ours = load(folder / "weights.pt", config)
    if precision == "float64":
        ours = type(ours)({k: x.astype(jnp.float64) for k, x in ours.weights.items()}, config)
    return theirs.to(getattr(torch, precision)), ours


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def tensors(precision: str, *arrays: np.ndarray) -> Any:
    import torch  # pyright: ignore[reportMissingImports]

    found = [torch.as_tensor(x).to(getattr(torch, precision)) for x in arrays]
    return found[0] if len(found) == 1 else found


def check(ours: Any, theirs: Any, precision: str) -> None:
    difference = np.abs(np.asarray(ours) - theirs.detach().numpy()).max()
    assert ours.dtype == precision
    assert difference <= TOLERANCE[precision], difference


@precisions
@lewms
def test_lewm_encoder(config: LeWMConfig, precision: str, tmp_path: pathlib.Path):
    pixels = random(2, 3, 3, config.encoder.image, config.encoder.image)
    with jax.enable_x64(precision == "float64"):
        theirs, ours = pair("lewm", config, precision, tmp_path)
        # Their forward casts pixels to float32, so that float64 is compared from there on.
        tokens = theirs.encoder(tensors(precision, pixels).flatten(0, 1)).last_hidden_state[:, 0]
        expected = theirs.projector(tokens).reshape(2, 3, -1)
        check(jax.jit(ours.encode)(jnp.asarray(pixels, precision)), expected, precision)


@precisions
@lewms
@pytest.mark.parametrize("frames", [1, 2, 3])
def test_lewm_predictor(config: LeWMConfig, precision: str, frames: int, tmp_path: pathlib.Path):
    latents, actions = random(frames, config.latent), random(frames, config.action_size, seed=1)
    with jax.enable_x64(precision == "float64"):
        theirs, ours = pair("lewm", config, precision, tmp_path)
        z, a = tensors(precision, latents[None], actions[None])
        expected = theirs.predict(z, _embed(theirs.action_encoder, a))[0, -1]
        z, a = jnp.asarray(latents, precision), jnp.asarray(actions, precision)
        check(jax.jit(ours)(z, a), expected, precision)
        # A longer window whose first frames are not there says the same, whatever they hold.
        absent = 3 - frames
        for filling in (0.0, 7.0, jnp.nan):
            longer, acted = (
                jnp.concatenate([jnp.full((absent, x.shape[1]), filling, precision), x])
                for x in (z, a)
            )
            present = jnp.arange(3) >= absent
            check(jax.jit(ours)(longer, acted, present), expected, precision)


def _embed(encoder: Any, actions: Any) -> Any:
    """The reference's action encoder without its cast to float32."""
    return encoder.embed(encoder.patch_embed(actions.transpose(1, 2)).transpose(1, 2))


def rollout(model: Any, start: Any, goal: Any, actions: jax.Array) -> tuple[Any, jax.Array]:
    """Our rollout from one frame, with windows that grow, and the goal cost."""
    problem = grasp_jax.make_problem(
        model, start, goal, actions, objective=model.objective, context=model.empty_context()
    )
    states = trajectory(problem, actions)
    return states, problem.cost(jax.tree.map(lambda x: x[1:], states), actions)


@precisions
@lewms
def test_lewm_rollout_and_goal_cost(config: LeWMConfig, precision: str, tmp_path: pathlib.Path):
    latents, actions = random(2, config.latent), random(16, config.action_size, seed=1)
    with jax.enable_x64(precision == "float64"):
        theirs, ours = pair("lewm", config, precision, tmp_path)
        z, a = tensors(precision, latents[:1], actions)
        embedded = _embed(theirs.action_encoder, a[None])[0]
        for t in range(16):
            first = max(0, t - 2)
            z = _append(z, theirs.predict(z[None, first:], embedded[None, first : t + 1])[0, -1])
        goal = tensors(precision, latents[1])
        cost = theirs.criterion(
            {"predicted_emb": z[None, None], "goal_emb": goal[None, None, None]}
        )
        start, goal = jnp.asarray(latents, precision)
        states, ours_cost = jax.jit(lambda a: rollout(ours, start, goal, a))(
            jnp.asarray(actions, precision)
        )
        check(states, z, precision)
        relative = abs(float(ours_cost) / cost.item() - 1)
        assert relative <= TOLERANCE[precision], relative


@pytest.mark.parametrize("kind", ["lewm", "pldm"])
def test_their_goal_cost_from_pixels_to_plans(kind: str, tmp_path: pathlib.Path):
    import torch  # pyright: ignore[reportMissingImports]

    pixels = random(2, 3, LEWM.encoder.image, LEWM.encoder.image)
    plans = random(4, 16, LEWM.action_size, seed=1)
    theirs, ours = pair(kind, LEWM, "float32", tmp_path)
    frames, candidates = tensors("float32", pixels, plans[None])
    # Problems, samples, frames: every sample sees the same start and goal.
    start, goal = (x.expand(1, 4, 1, *x.shape) for x in frames)
    given = {"pixels": start, "goal": goal, "action": torch.zeros(1, 4, 1, LEWM.action_size)}
    with torch.no_grad():
        expected = theirs.get_cost(given, candidates)[0]

    @jax.jit
    def costs_of(pixels: jax.Array, plans: jax.Array) -> jax.Array:
        start, goal = ours.encode(pixels)
        return jax.vmap(lambda a: rollout(ours, start, goal, a)[1])(plans)

    costs = costs_of(jnp.asarray(pixels, jnp.float32), jnp.asarray(plans, jnp.float32))
    np.testing.assert_allclose(costs, expected, rtol=1e-5)


def _append(frames: Any, frame: Any) -> Any:
    import torch  # pyright: ignore[reportMissingImports]

    return torch.cat([frames, frame[None]])


@precisions
@dinowms
def test_dinowm_encoder(config: DinoWMConfig, precision: str, tmp_path: pathlib.Path):
    import torch  # pyright: ignore[reportMissingImports]

    pixels = random(2, 3, config.encoder.image, config.encoder.image)
    proprio = random(2, config.proprio_size, seed=1) if config.proprio_size else None
    with jax.enable_x64(precision == "float64"):
        theirs, ours = pair("dinowm", config, precision, tmp_path)
        x = tensors(precision, pixels)
        patches = theirs.backbone(x).last_hidden_state[:, 1:]
        given = None if proprio is None else jnp.asarray(proprio, precision)
        found = jax.jit(ours.encode)(jnp.asarray(pixels, precision), given)
        # transformers interpolates positions in float32, whatever the model's precision.
        limit = (
            precision
            if config.encoder.pos_grid * config.encoder.patch == config.encoder.image
            else "float32"
        )
        difference = np.abs(np.asarray(found["patches"]) - patches.detach().numpy()).max()
        assert difference <= TOLERANCE[limit], difference
        if proprio is not None:
            with torch.no_grad():
                expected = theirs.extra_encoders["proprio"](tensors(precision, proprio[None]))[0]
            tiled = expected[:, None].expand(-1, config.patches, -1)
            check(found["proprio"], tiled, precision)


@precisions
@dinowms
def test_dinowm_predictor_rollout_and_goal_cost(
    config: DinoWMConfig, precision: str, tmp_path: pathlib.Path
):
    import torch  # pyright: ignore[reportMissingImports]

    steps = 16 if config.depth < 6 else 4
    width, extra = config.encoder.width, config.embedding * bool(config.proprio_size)
    frames = random(2, config.patches, width + extra)
    actions = random(steps, config.action_size, seed=1)
    with jax.enable_x64(precision == "float64"):
        theirs, ours = pair("dinowm", config, precision, tmp_path)
        z, a = tensors(precision, frames[:1], actions)
        with torch.no_grad():
            embedded = theirs.extra_encoders["action"](a[None])[0]
            tiled = embedded[:, None].expand(-1, config.patches, -1)
            for t in range(steps):
                first = max(0, t - 2)
                window = torch.cat([z[first:], tiled[first : t + 1]], dim=-1)
                following = theirs.predict(window[None])[0, -1]
                z = _append(z, following[..., : width + extra])

        def state(x: np.ndarray) -> dict[str, jax.Array]:
            known = jnp.asarray(x, precision)
            proprio = {"proprio": known[..., width:]} if extra else {}
            return {"patches": known[..., :width]} | proprio

        start, goal = state(frames[0]), state(frames[1])
        states, cost = jax.jit(lambda a: rollout(ours, start, goal, a))(
            jnp.asarray(actions, precision)
        )
        check(states["patches"], z[..., :width], precision)
        expected = torch.mean((z[-1, :, :width] - tensors(precision, frames[1, :, :width])) ** 2)
        if extra:
            check(states["proprio"], z[..., width:], precision)
            last = z[-1, 0, width:] - tensors(precision, frames[1, 0, width:])
            expected = expected + torch.mean(last**2)
        assert abs(float(cost) / expected.item() - 1) <= TOLERANCE[precision]


def test_a_plan_through_an_imported_model_is_made_and_batched(tmp_path: pathlib.Path):
    _, model = pair("lewm", LEWM, "float32", tmp_path)
    latents = jnp.asarray(random(4, LEWM.latent), jnp.float32)
    plan = grasp_jax.plan(
        model,
        latents[0],
        latents[1],
        jnp.zeros((5, LEWM.action_size)),
        jax.random.key(0),
        planner=grasp_jax.GRASP(
            iterations=20, sync=grasp_jax.GD(learning_rate=0.05, iterations=5), sync_every=10
        ),
        context=model.empty_context(),
        objective=model.objective,
    )
    assert plan.status == grasp_jax.Status.OK
    assert plan.metrics.best_cost[-1] < plan.metrics.best_cost[0]
