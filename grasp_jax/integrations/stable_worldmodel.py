"""A solver for stable-worldmodel's planning policy: its environments and evaluation, our planners.

    solver = PlannerSolver("runs/lewm/weights.pt")
    policy = swm.policy.WorldModelPolicy(solver, swm.PlanConfig(horizon=5, receding_horizon=5, ...))

It serves the released package and the later one, whose policy also hands over past frames; neither
is imported. Actions go in and out in the model's units, blocks stacked, as with their own solvers.

`B` counts problems, `H` frames, `T` model steps, `A` the numbers of a block of actions.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from grasp_jax._fields import as_count
from grasp_jax.integrations._convert import Model, as_model, as_objective
from grasp_jax.integrations._observations import pad_frames, plan_dtype, read, states
from grasp_jax.integrations._torch import Tensor, as_tensor, floating, pad_rows, to_jax, to_torch
from grasp_jax.objectives import Objective
from grasp_jax.planner import Planner, require_planner
from grasp_jax.planners.restarted import restarted_grasp
from grasp_jax.planning import plan_batch
from grasp_jax.results import Plan
from grasp_jax.world_models import Normalization


class PlannerSolver:
    """Any planner of this library, as one of stable-worldmodel's solvers.

    All problems of a call are planned side by side. Calls with fewer problems are filled up, so
    that one compiled program serves them all.
    """

    def __init__(
        self,
        model: Any = None,
        *,
        cost: Any = None,
        planner: Planner | None = None,
        objective: Any = None,
        normalization: Normalization | None = None,
        bounds: tuple[Any, Any] | None = None,
        window: int | None = None,
        batch_size: int | None = None,
        seed: int = 1234,
        callbacks: Sequence[Any] = (),
    ) -> None:
        """Says how to plan; `configure` says what for.

        Args:
          model: A `LeWM` or `DinoWM`; the path of a checkpoint; or the PyTorch model itself (LeWM,
            PLDM, PreJEPA) or its `state_dict`, converted.
          cost: Instead of `model`: stable-worldmodel's evaluator, whose model and objective are
            converted.
          planner: `restarted_grasp()` by default.
          objective: Ours or stable-worldmodel's; the evaluator's, or the goal cost of the model's
            authors, by default.
          normalization: Of the training data. With it frames may come as the environment draws
            them, and plans stay inside the environment's action space.
          bounds: `(low, high)` in the model's units, numbers or `[A]`; instead of those.
          window: Frames that one prediction reads; all that the model can by default.
          batch_size: Problems planned at a time; all environments by default.
          seed: The same calls in the same order give the same plans.
          callbacks: Recorders of stable-worldmodel. They are shown, after the search, each
            iteration's `step`, `costs` `[B, 1]` (best so far), `cost` (their sum), `loss` and
            `dynamics_residual` `[B]`.
        """
        if (model is None) == (cost is None):
            raise TypeError("PlannerSolver needs a model, or a cost that holds one, and not both.")
        given = cost if model is None else model
        self.model = as_model(given)
        self.planner = restarted_grasp() if planner is None else planner
        require_planner(self.planner, "PlannerSolver: planner")
        objective = getattr(given, "objective", None) if objective is None else objective
        objective = self.model.objective if objective is None else objective
        self.objective: Objective = as_objective(objective, self.model)
        self.normalization = normalization
        self.bounds = bounds
        self.window = _checked_window(window, self.model)
        if batch_size is not None:
            batch_size = as_count(batch_size, "PlannerSolver: batch_size")
        self.batch_size = batch_size
        self.callbacks = list(callbacks)
        weight = jnp.asarray(next(iter(self.model.weights.values())))
        self._dtype, self._sharding = plan_dtype(self.model), weight.sharding
        self._key, self._calls = jax.random.key(seed), 0
        self._n_envs = self._config = None

    def configure(self, *, action_space: Any, n_envs: int, config: Any) -> None:
        """Called by the policy.

        Args:
          action_space: The environments' own, `[n_envs, a]`.
          n_envs: How many environments.
          config: A `PlanConfig`.

        Raises:
          TypeError, ValueError: The model cannot plan for them.
        """
        if not hasattr(action_space, "low"):
            raise TypeError(
                f"PlannerSolver plans continuous actions, got a {type(action_space).__name__} "
                "space. Use stable-worldmodel's CategoricalCEMSolver."
            )
        size = int(np.prod(action_space.shape[1:]))
        block, expected = config.action_block, self.model.config.action_size
        if size * block != expected:
            raise ValueError(
                f"PlannerSolver: the model takes {expected} numbers per step, the environment's "
                f"{size} times action_block={block} make {size * block}. Set "
                "PlanConfig(action_block=...) as in training."
            )
        norm = self.normalization
        if norm is not None and (norm.action_block, norm.action_size) != (block, size):
            raise ValueError(
                f"PlannerSolver: normalization is of blocks of {norm.action_block} actions of "
                f"{norm.action_size} numbers, the policy's are {block} of {size}. Make it with "
                f"Normalization.fit(actions, action_block={block})."
            )
        sizes = dataclasses.replace(self.model.config, action_block=block)
        self.model = dataclasses.replace(self.model, config=sizes)
        self._n_envs, self._config, self._size = n_envs, config, size
        self._limits = self.bounds
        if self.bounds is None and norm is not None:
            rows = (np.reshape(x, (-1, size))[0] for x in (action_space.low, action_space.high))
            self._limits = norm.bounds(*rows)

    @property
    def n_envs(self) -> int:
        """How many environments there are."""
        self._require_configured()
        return self._n_envs  # pyright: ignore[reportReturnType]

    @property
    def action_dim(self) -> int:
        """`A`, numbers of a block of actions."""
        return self._require_configured().action_block * self._size

    @property
    def horizon(self) -> int:
        """`T`, model steps."""
        return self._require_configured().horizon

    def __call__(self, info_dict: dict, init_action: Tensor | None = None) -> dict:
        """`solve`."""
        return self.solve(info_dict, init_action)

    def solve(self, info_dict: dict, init_action: Tensor | None = None) -> dict:
        """Plans for every row of `info_dict`.

        Args:
          info_dict: As the policy hands it over: `pixels` and `goal` `[B, H, 3, height, width]`,
            normalized (or as drawn, `[B, H, height, width, 3]`, where there is a normalization);
            `proprio` and `goal_proprio` `[B, H, n]` for models that read them; `action_history`
            `[B, H-1, A]` beside more than one frame. Other entries are not read.
          init_action: `[B, n, A]`, the first `n <= T` steps to start from; zeros by default.

        Returns:
          `actions`: CPU tensor `[B, T, A]`, with memory of its own; `costs`: a float per problem;
          `status`: a `grasp_jax.Status` per problem; `callbacks`: by name, where there are any.

        Raises:
          KeyError, TypeError, ValueError: Something is missing or has another shape.
        """
        config = self._require_configured()
        frames = min(getattr(config, "history_len", 1), self.window)
        inputs = read(info_dict, self.model, self.normalization, frames)
        rows = len(inputs["pixels"])
        if not rows:
            raise ValueError("PlannerSolver: info_dict holds no problems, its arrays have no rows.")
        inputs["guess"] = self._guess(init_action, rows)
        self._calls += 1
        key = jax.random.fold_in(self._key, self._calls)
        size = self.batch_size or self.n_envs
        for callback in self.callbacks:
            callback.reset()
        found = []
        for i, first in enumerate(range(0, rows, size)):
            batch = {k: x[first : first + size] for k, x in inputs.items()}
            found.append(self._plan(batch, frames, size, jax.random.fold_in(key, i)))
        return self._outputs(found)

    def _guess(self, init_action: Any, rows: int) -> Tensor:
        """The start `[B, T, A]`, zeros where nothing is given."""
        import torch  # pyright: ignore[reportMissingImports]

        horizon, size = self.horizon, self.action_dim
        given = torch.zeros(rows, 0, size) if init_action is None else init_action
        given = floating(as_tensor(given, "init_action"), self._dtype)
        wrong = given.ndim != 3 or given.shape[0] != rows or given.shape[2] != size
        if wrong or given.shape[1] > horizon:
            raise ValueError(
                f"PlannerSolver: init_action must be [{rows}, at most {horizon}, {size}], got "
                f"{list(given.shape)}."
            )
        rest = given.new_zeros(rows, horizon - given.shape[1], size)
        return torch.cat([given, rest], dim=1)

    def _plan(
        self, batch: dict[str, Tensor], frames: int, size: int, key: jax.Array
    ) -> dict[str, Any]:
        """Plans of up to `size` problems, in the program of `size`."""
        rows, seen = batch["pixels"].shape[:2]
        batch = pad_frames(batch, 1 if seen == 1 else frames)
        given = {k: to_jax(pad_rows(x, size), self._sharding) for k, x in batch.items()}
        guess = given.pop("guess")
        start, goal, context = states(self.model, given, seen, self.normalization, self.window)
        plan = plan_batch(
            self.model,
            start,
            goal,
            guess,
            key,
            planner=self.planner,
            bounds=self._limits,
            objective=self.objective,
            context=context,
        )
        self._show(plan, rows)
        return {
            "actions": to_torch(plan.actions)[:rows],
            "costs": np.asarray(plan.cost)[:rows],
            "status": np.asarray(plan.status)[:rows],
        }

    def _show(self, plan: Plan, rows: int) -> None:
        """Tells the callbacks what happened in each iteration."""
        if not self.callbacks:
            return
        names = ("best_cost", "loss", "dynamics_residual")
        best, loss, residual = (to_torch(getattr(plan.metrics, n))[:rows] for n in names)
        for callback in self.callbacks:
            callback.start_batch()
        for step in range(best.shape[1]):
            costs = best[:, step, None]
            seen = {"step": step, "costs": costs, "cost": costs.sum()}
            seen |= {"loss": loss[:, step], "dynamics_residual": residual[:, step]}
            for callback in self.callbacks:
                _tell(callback, seen)

    def _outputs(self, found: list[dict[str, Any]]) -> dict:
        import torch  # pyright: ignore[reportMissingImports]

        outputs = {
            "actions": torch.cat([x["actions"] for x in found]),
            "costs": [float(c) for x in found for c in x["costs"]],
            "status": [int(s) for x in found for s in x["status"]],
        }
        if self.callbacks:
            for callback in self.callbacks:
                callback.end_solve()
            outputs["callbacks"] = {c.output_key: c.history for c in self.callbacks}
        return outputs

    def _require_configured(self) -> Any:
        # An AttributeError: a protocol check before `configure` says False, instead of failing.
        if self._config is None:
            raise AttributeError("PlannerSolver knows its problems after configure(...).")
        return self._config


def _tell(callback: Any, seen: dict[str, Any]) -> None:
    try:
        callback(**seen)
    except KeyError as error:
        raise ValueError(
            f"PlannerSolver: the callback {type(callback).__name__} reads {error}; planners of "
            f"grasp_jax report {', '.join(seen)}."
        ) from error


def _checked_window(window: int | None, model: Model) -> int:
    longest = model.config.frames
    if window is None:
        return longest
    window = as_count(window, "PlannerSolver: window")
    if window > longest:
        raise ValueError(f"PlannerSolver: window must be in 1..{longest}, got {window}.")
    return window
