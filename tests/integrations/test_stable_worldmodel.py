"""Our planners as a solver of stable-worldmodel: its protocol, its costs, its habits."""

import inspect
import pathlib
import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from safetensors.numpy import save_file

from experiments.models import reference
from grasp_jax import CEM, GD, GRASP, Objective, Status, plan_batch, world_models
from grasp_jax.integrations import _convert
from grasp_jax.integrations.stable_worldmodel import PlannerSolver
from grasp_jax.world_models import DinoWM, LeWM, Normalization
from tests.integrations import package
from tests.world_models.golden import DINOWM, LEWM

torch = pytest.importorskip("torch", reason="PyTorch is not installed", exc_type=ImportError)

NO_FILES = package.why_not()
NO_PACKAGE = package.why_not_whole()
NO_MODELS = reference.why_not()
needs_files = pytest.mark.skipif(NO_FILES is not None, reason=f"no package files: {NO_FILES}")
needs_package = pytest.mark.skipif(NO_PACKAGE is not None, reason=f"no package: {NO_PACKAGE}")
needs_models = pytest.mark.skipif(NO_MODELS is not None, reason=f"no PyTorch models: {NO_MODELS}")

ENVS, HORIZON, BLOCK, A = 4, 3, 2, 4
QUICK = GD(learning_rate=0.1, iterations=3)
STAY = GD(learning_rate=0.0, iterations=3)  # hands back what it was given; the program of QUICK
NOISY = CEM(num_samples=8, num_elites=2, iterations=2)


@pytest.fixture(scope="module")
def lewm() -> LeWM:
    return LeWM.random(jax.random.key(0), LEWM)


def config(history: int = 1, **more: Any) -> Any:
    """A `PlanConfig`, which the released package defines without `history_max_len`."""
    named = {"horizon": HORIZON, "receding_horizon": 2, "action_block": BLOCK, "warm_start": True}
    return types.SimpleNamespace(**{**named, "history_len": history, **more})


def configured(model: Any, history: int = 1, envs: int = ENVS, **settings: Any) -> PlannerSolver:
    solver = PlannerSolver(model, **{"planner": QUICK, **settings})
    space = Box(-1, 1, (envs, A // BLOCK))
    solver.configure(action_space=space, n_envs=envs, config=config(history))
    return solver


def observed(rows: int, frames: int = 1, seed: int = 0, proprio: bool = False) -> dict[str, Any]:
    """An `info_dict` as the policy hands it over, with entries that no model reads."""
    random = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Any:
        return torch.randn(*shape, generator=random)

    found = {"pixels": draw(rows, frames, 3, 8, 8), "goal": draw(rows, 1, 3, 8, 8)}
    if frames > 1:
        found["action_history"] = draw(rows, frames - 1, A)
    if proprio:
        found |= {"proprio": draw(rows, frames, 3), "goal_proprio": draw(rows, 1, 3)}
    return {
        **found,
        "action": draw(rows, 1, A),
        "step_idx": torch.zeros(rows, 1),
        "env": ["x"] * rows,
    }


@needs_files
def test_it_satisfies_the_protocol_once_it_is_configured(lewm: LeWM):
    protocol = package.load(package.solvers() / "solver.py").Solver
    assert not isinstance(PlannerSolver(lewm), protocol)
    solver = configured(lewm)
    assert isinstance(solver, protocol)
    assert (solver.n_envs, solver.horizon, solver.action_dim) == (ENVS, HORIZON, A)


@pytest.mark.parametrize("planner", [GRASP(iterations=2, sync_every=2, sync=QUICK), NOISY])
def test_what_comes_back(lewm: LeWM, planner: Any):
    found = configured(lewm, planner=planner)(observed(ENVS))
    assert found["actions"].shape == (ENVS, HORIZON, A)
    assert found["actions"].dtype == torch.float32 and found["actions"].device.type == "cpu"
    assert found["status"] == [Status.OK] * ENVS and "callbacks" not in found
    assert all(isinstance(c, float) and np.isfinite(c) for c in found["costs"])


def test_it_is_plan_batch_on_the_encoded_frames(lewm: LeWM):
    solver, info = configured(lewm, planner=NOISY, seed=5), observed(ENVS)
    assert solver.model.environment_actions_per_step == BLOCK
    assert lewm.environment_actions_per_step == 1
    found = solver.solve(info)
    encode = jax.jit(lewm.encode)
    pixels, goal = (encode(info[k][:, -1].numpy()) for k in ("pixels", "goal"))
    context = jax.tree.map(lambda x: jnp.stack([x] * ENVS), lewm.empty_context())
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(5), 1), 0)
    direct = plan_batch(
        solver.model,
        pixels,
        goal,
        jnp.zeros((HORIZON, A)),
        key,
        planner=solver.planner,
        objective=lewm.objective,
        context=context,
    )
    np.testing.assert_allclose(found["actions"], direct.actions, atol=1e-5)
    np.testing.assert_allclose(found["costs"], direct.cost, rtol=1e-5)


@needs_models
@pytest.mark.parametrize("frames", [1, 2, 3])
@pytest.mark.parametrize("kind", ["lewm", "dinowm"])
def test_costs_are_those_of_the_pytorch_model(kind: str, frames: int):
    """Its `get_cost` on our plan; the released one takes the past blocks in front of the plan's."""
    theirs = getattr(reference, kind)({"lewm": LEWM, "dinowm": DINOWM}[kind])
    if not hasattr(theirs, "get_cost"):
        pytest.skip("the later package keeps costs apart from its models")
    info = observed(ENVS, frames, proprio=kind == "dinowm")
    found = configured(theirs, history=3).solve(info)
    past = info.get("action_history", torch.zeros(ENVS, 0, A))
    sequences = torch.cat([past, found["actions"]], dim=1)
    for i in range(ENVS):  # one by one: the released LeWM compares several with the wrong goals
        given = {k: x[i : i + 1, None] for k, x in info.items() if torch.is_tensor(x)}
        given |= {"id": torch.full((1, 1, 1), i), "goal_action": torch.zeros(1, 1, 1, A)}
        with torch.no_grad():
            expected = theirs.get_cost(given, sequences[i : i + 1, None]).item()
        np.testing.assert_allclose(found["costs"][i], expected, rtol=1e-4, atol=1e-5)


def test_any_number_of_problems_and_frames_runs_in_the_same_programs(
    lewm: LeWM, monkeypatch: pytest.MonkeyPatch
):
    traced = []
    for name in ("encode", "step_prepared"):
        original = getattr(LeWM, name)

        def counted(self: LeWM, *x: Any, original: Any = original) -> Any:
            traced.append(1)
            return original(self, *x)

        monkeypatch.setattr(LeWM, name, counted)
    # Numbers of its own, so that no other test has compiled its programs.
    solver = configured(lewm, history=3, planner=GD(learning_rate=0.1, iterations=4))
    for frames in (1, 3):
        solver.solve(observed(ENVS, frames))
    assert traced
    before = len(traced)
    for rows, frames in [(1, 1), (3, 1), (2, 2), (4, 3), (7, 2), (9, 3)]:
        found = solver.solve(observed(rows, frames), torch.zeros(rows, 1, A))
        assert found["actions"].shape == (rows, HORIZON, A) and len(found["costs"]) == rows
    assert len(traced) == before


def test_a_problem_does_not_see_its_neighbours_nor_the_filling(lewm: LeWM):
    info = observed(7)
    together = configured(lewm).solve(info)
    alone = configured(lewm).solve({k: x[5:6] for k, x in info.items()})
    np.testing.assert_allclose(alone["actions"][0], together["actions"][5], atol=1e-5)
    broken = observed(7)
    broken["pixels"][2] = torch.nan
    found = configured(lewm).solve(broken)
    assert [s == Status.OK for s in found["status"]] == [i != 2 for i in range(7)]
    np.testing.assert_allclose(found["actions"][5], together["actions"][5], atol=1e-5)


def test_batch_size_changes_nothing_but_memory(lewm: LeWM):
    info = observed(5)
    a, b = (configured(lewm, batch_size=n).solve(info) for n in (None, 2))
    np.testing.assert_allclose(a["actions"], b["actions"], atol=1e-5)


def test_a_warm_start_is_filled_up_with_zeros(lewm: LeWM):
    given = torch.randn(ENVS, 2, A)
    found = configured(lewm, planner=STAY).solve(observed(ENVS), init_action=given)
    np.testing.assert_array_equal(found["actions"][:, :2], given)
    assert not found["actions"][:, 2:].any()


def test_plans_stay_inside_the_action_space_of_the_environment(lewm: LeWM):
    norm = Normalization(np.array([0.1, -0.2]), np.array([0.2, 0.4]), action_block=BLOCK)
    far = torch.full((ENVS, HORIZON, A), 50.0)
    found = configured(lewm, planner=STAY, normalization=norm).solve(observed(ENVS), far)
    np.testing.assert_allclose(norm.to_environment(found["actions"].numpy()), 1.0, rtol=1e-5)
    found = configured(lewm, planner=STAY, bounds=(-2, 3)).solve(observed(ENVS), far)
    assert (found["actions"] == 3).all()
    found = configured(lewm, planner=STAY).solve(observed(ENVS), far)
    assert (found["actions"] == 50).all()


def test_frames_as_drawn_are_normalized(lewm: LeWM):
    norm = Normalization(np.zeros(2), np.ones(2), action_block=BLOCK)
    drawn = {
        k: torch.randint(0, 256, (2, 1, 8, 8, 3), dtype=torch.uint8) for k in ("pixels", "goal")
    }
    ready = {k: torch.tensor(np.asarray(norm.pixels(x.numpy()))) for k, x in drawn.items()}
    a, b = (configured(lewm, normalization=norm).solve(x) for x in (drawn, ready))
    np.testing.assert_allclose(a["actions"], b["actions"], atol=1e-5)


@needs_files
def test_callbacks_see_every_iteration(lewm: LeWM):
    recorders = package.load(package.solvers() / "callbacks")
    best = recorders.BestCostRecorder(reduction="none")
    solver = configured(lewm, batch_size=2, callbacks=[best, recorders.MeanCostRecorder()])
    for _ in range(2):  # the second call starts anew
        found = solver.solve(observed(3))
    history = found["callbacks"]["BestCostRecorder"]
    assert [len(x) for x in history] == [QUICK.iterations] * 2
    assert [len(x[0]) for x in history] == [2, 1]
    last = [c for batch in history for c in batch[-1]]
    assert all(c >= f - 1e-5 for c, f in zip(last, found["costs"], strict=True))
    assert np.shape(found["callbacks"]["MeanCostRecorder"]) == (2, QUICK.iterations)
    with pytest.raises(ValueError, match=r"VarNormRecorder reads 'var'.*report step, costs"):
        configured(lewm, callbacks=[recorders.VarNormRecorder()]).solve(observed(1))


def test_no_memory_is_shared_with_the_caller(lewm: LeWM):
    info, guess = observed(ENVS), torch.zeros(ENVS, HORIZON, A)
    kept = {k: x.clone() for k, x in info.items() if torch.is_tensor(x)}
    solver = configured(lewm)
    found = solver.solve(info, guess)
    for name, x in kept.items():
        assert torch.equal(info[name], x)
    first = found["actions"].clone()
    found["actions"].fill_(7.0)
    guess.fill_(9.0)
    info["pixels"].zero_()
    again = configured(lewm).solve(kept, torch.zeros(ENVS, HORIZON, A))
    np.testing.assert_array_equal(again["actions"], first)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_files_of_every_kind_cost_the_same(
    lewm: LeWM, dtype: str, tmp_path: pathlib.Path
):
    tensors = {
        k: torch.tensor(np.asarray(x)).to(getattr(torch, dtype)) for k, x in lewm.weights.items()
    }
    torch.save(tensors, tmp_path / "half.pt")
    arrays = {k: np.asarray(x).astype(jnp.dtype(dtype)) for k, x in lewm.weights.items()}
    save_file(arrays, str(tmp_path / "half.safetensors"))
    module = types.SimpleNamespace(state_dict=lambda: tensors, encoder=None)
    given = [tmp_path / "half.pt", tmp_path / "half.safetensors", tensors, module]
    found = [configured(x).solve(observed(ENVS)) for x in given]
    for other in found[1:]:
        assert other["costs"] == found[0]["costs"]
        np.testing.assert_array_equal(other["actions"], found[0]["actions"])


def test_half_precision_weights_at_hand_plan_in_float32(lewm: LeWM):
    half = LeWM({k: x.astype(jnp.bfloat16) for k, x in lewm.weights.items()}, lewm.config)
    found = configured(half).solve(observed(ENVS, 1))
    assert found["actions"].dtype == torch.float32 and found["status"] == [Status.OK] * ENVS
    whole = configured(lewm).solve(observed(ENVS, 1))
    np.testing.assert_allclose(found["costs"], whole["costs"], rtol=0.05)


@needs_models
def test_a_pytorch_model_is_copied(lewm: LeWM):
    theirs = reference.lewm(LEWM)
    solver, info = configured(theirs), observed(ENVS)
    before = solver.solve(info)["costs"]
    with torch.no_grad():
        for x in theirs.parameters():
            x.mul_(2)
    assert solver.solve(info)["costs"] == before


def goal_mse(key: str, reduction: str) -> Any:
    """What an objective of the later package shows of itself."""
    return types.SimpleNamespace(pred_key=key, goal_key="", reduction=reduction)


def test_objectives_are_converted(lewm: LeWM):
    dino = DinoWM.random(jax.random.key(1), DINOWM)
    state, goal = (
        jax.jit(dino.encode)(*(jax.random.normal(jax.random.key(i), s) for s in ((3, 8, 8), (3,))))
        for i in (2, 3)
    )
    parts = types.SimpleNamespace(
        weights=[2.0, 0.5, 0.1],
        objectives=[
            goal_mse("predicted_pixels_emb", "mean"),
            goal_mse("predicted_proprio_emb", "sum"),
            types.SimpleNamespace(action_key="action_candidates"),
        ],
    )
    found, actions = _convert.as_objective(parts, dino), jnp.full((2, A), 3.0)
    pixels = jnp.mean((state["patches"] - goal["patches"]) ** 2)
    proprio = jnp.sum((state["proprio"][0] - goal["proprio"][0]) ** 2)
    expected = 2 * pixels + 0.5 * proprio + 0.1 * 2 * A * 9
    assert found.control_cost is not None
    cost = found.terminal_cost(state, goal) + found.control_cost(actions)
    np.testing.assert_allclose(cost, expected, rtol=1e-5)

    plain = _convert.as_objective(goal_mse("predicted_emb", "sum"), lewm)
    a, b = jnp.ones(5), jnp.zeros(5)
    assert plain.terminal_cost(a, b) == 5 and plain.control_cost is None
    assert isinstance(PlannerSolver(lewm, objective=Objective()).objective, Objective)
    for wrong in (goal_mse("predicted_pixels_emb", "sum"), types.SimpleNamespace(weights=None)):
        with pytest.raises(TypeError, match="has no counterpart for a LeWM"):
            _convert.as_objective(wrong, lewm)


def test_an_evaluator_brings_its_model_and_its_objective(lewm: LeWM):
    weights = {k: torch.tensor(np.asarray(x)) for k, x in lewm.weights.items()}
    sizes = types.SimpleNamespace(num_attention_heads=2, layer_norm_eps=1e-12)
    encoder = types.SimpleNamespace(config=sizes)
    module = types.SimpleNamespace(state_dict=lambda: weights, encoder=encoder)
    cost = types.SimpleNamespace(model=module, objective=goal_mse("predicted_emb", "mean"))
    info = observed(ENVS)
    mean = configured(None, cost=cost, planner=STAY).solve(info)["costs"]
    total = configured(lewm, planner=STAY).solve(info)["costs"]
    np.testing.assert_allclose(np.multiply(mean, LEWM.latent), total, rtol=1e-4)


@needs_package
def test_their_policy_executes_our_plans(lewm: LeWM):
    swm = package.whole()
    single, space = Box(-1, 1, (A // BLOCK,)), Box(-1, 1, (ENVS, A // BLOCK))
    env = types.SimpleNamespace(num_envs=ENVS, action_space=space, single_action_space=single)
    plans = swm.PlanConfig(horizon=HORIZON, receding_horizon=2, action_block=BLOCK)
    solver = PlannerSolver(lewm, planner=QUICK)
    policy = swm.policy.WorldModelPolicy(solver, plans)
    policy.set_env(env)
    info = {k: x for k, x in observed(ENVS).items() if k in ("pixels", "goal")}
    info["terminated"] = np.array([False, True, False, False])
    expected = configured(lewm).solve({k: info[k][[0, 2, 3]] for k in ("pixels", "goal")})
    executed = [policy.get_action(dict(info)) for _ in range(2 * BLOCK)]
    stacked = np.stack(executed, 1)[[0, 2, 3]].reshape(3, 2, A)
    np.testing.assert_allclose(stacked, expected["actions"][:, :2], atol=1e-5)
    assert np.isnan(executed[0][1]).all()


@needs_package
def test_their_policy_hands_over_the_past_where_it_keeps_one(lewm: LeWM):
    swm = package.whole()
    if "history_keys" not in inspect.signature(swm.policy.WorldModelPolicy).parameters:
        pytest.skip("the released policy keeps no past frames")
    single, space = Box(-1, 1, (A // BLOCK,)), Box(-1, 1, (ENVS, A // BLOCK))
    env = types.SimpleNamespace(num_envs=ENVS, action_space=space, single_action_space=single)
    plans = swm.PlanConfig(horizon=HORIZON, receding_horizon=1, action_block=BLOCK, history_len=3)
    policy = swm.policy.WorldModelPolicy(PlannerSolver(lewm, planner=QUICK), plans)
    policy.set_env(env)
    seen, solve = [], policy.solver.solve

    def recorded(info: dict, init_action: Any = None) -> dict:
        seen.append((info["pixels"].shape[1], info["action_history"].shape[1]))
        return solve(info, init_action)

    policy.solver.solve = recorded
    action = np.full((ENVS, 1, A // BLOCK), np.nan, np.float32)
    for step in range(4 * BLOCK):
        drawn = observed(ENVS, seed=step)
        info = {"pixels": drawn["pixels"], "goal": drawn["goal"], "action": action}
        executed = policy.get_action(info)
        assert np.isfinite(executed).all()
        action = executed[:, None].astype(np.float32)
    assert seen == [(1, 0), (2, 1), (3, 2), (3, 2)]


def without(name: str) -> dict[str, Any]:
    return {k: x for k, x in observed(2).items() if k != name}


@pytest.mark.parametrize(
    ("info", "error", "message"),
    [
        (without("goal"), KeyError, "no goal; it has pixels, action"),
        ({**observed(2), "pixels": torch.zeros(2, 1, 3, 9, 9)}, ValueError, "3, 8, 8.*image_shape"),
        ({**observed(2), "pixels": torch.zeros(2, 1, 8, 8, 3)}, ValueError, "or normalization="),
        ({**observed(2), "goal": torch.zeros(3, 1, 3, 8, 8)}, ValueError, "goal has shape"),
        ({**observed(2), "pixels": torch.zeros(2, 2, 3, 8, 8)}, ValueError, "no action_history"),
        ({**observed(2, 3), "action_history": torch.zeros(2, 1, A)}, ValueError, r"\[2, 2, 4\]"),
        ({**observed(2), "pixels": "x"}, TypeError, "pixels must be a tensor"),
    ],
)
def test_wrong_observations(lewm: LeWM, info: dict[str, Any], error: type, message: str):
    with pytest.raises(error, match=message):
        configured(lewm, history=3).solve(info)


def test_wrong_settings(lewm: LeWM):
    with pytest.raises(TypeError, match="a model, or a cost"):
        PlannerSolver()
    with pytest.raises(TypeError, match="got dict_keys"):
        PlannerSolver({}.keys())
    for wrapped in (world_models.mixed_precision(lewm), world_models.ActionRepeat(lewm, 3)):
        with pytest.raises(TypeError, match=f"got {type(wrapped).__name__}"):
            PlannerSolver(wrapped)
    with pytest.raises(ValueError, match=r"window must be in 1\.\.3, got 4"):
        PlannerSolver(lewm, window=4)
    for name in ("window", "batch_size"):
        wrong: Any = {name: 1.5}
        with pytest.raises(TypeError, match=f"PlannerSolver: {name} must be an int .*float: 1.5"):
            PlannerSolver(lewm, **wrong)
        counted: Any = {name: np.int64(2)}
        assert getattr(PlannerSolver(lewm, **counted), name) == 2
    with pytest.raises(ValueError, match="info_dict holds no problems"):
        configured(lewm).solve({k: x[:0] for k, x in observed(1).items()})
    norm = Normalization(np.zeros(A // BLOCK), np.ones(A // BLOCK), action_block=BLOCK)
    drawn = {k: torch.full((2, 1, 8, 8, 3), 255.0) for k in ("pixels", "goal")}
    with pytest.raises(ValueError, match="holds floats up to 255"):
        configured(lewm, normalization=norm).solve(drawn)
    with pytest.raises(TypeError, match="planner must be an instance"):
        PlannerSolver(lewm, planner=GRASP)  # pyright: ignore[reportArgumentType]
    with pytest.raises(AttributeError, match="configure"):
        PlannerSolver(lewm).solve(observed(1))
    with pytest.raises(TypeError, match="continuous"):
        PlannerSolver(lewm).configure(action_space=Discrete(3), n_envs=1, config=config())
    with pytest.raises(ValueError, match="2 times action_block=5 make 10"):
        PlannerSolver(lewm).configure(
            action_space=Box(-1, 1, (1, 2)), n_envs=1, config=config(action_block=5)
        )
    with pytest.raises(ValueError, match="blocks of 1 actions"):
        configured(lewm, normalization=Normalization(np.zeros(4), np.ones(4)))
    with pytest.raises(ValueError, match="at most 3, 4"):
        configured(lewm).solve(observed(2), torch.zeros(2, 9, A))
