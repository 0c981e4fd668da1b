"""Paths of states from recorded states: nearest neighbors, observed transitions, shortest ways.

A recording says which states follow each other, in how many steps. Clustered to `num_nodes`
places it is a graph; a shortest way in it is a path of states that some actions can follow, though
the recording holds no episode that goes the whole way. A lifted planner starts from such states:

    index = build_index(states, episodes, num_nodes=2000)      # once, on the host (scipy)
    tree = index.towards(goal)                                 # once per goal, on the host
    path = tree(state, num_states=T - 1)                       # pure JAX: jit, vmap, scan
    planner = GRASP(init_states=GivenPath(path.states), state_rate=0.0, ...)

The same path gives subgoals (`grasp_jax.subgoals`) and a reference (`grasp_jax.tracking`), and
`StateIndex.segment` gives recorded actions that any planner may start from. States are rows `[D]`
here: flatten a pytree with `jax.flatten_util.ravel_pytree`.
"""

import dataclasses
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from grasp_jax._fields import as_count, require
from grasp_jax._recorded_graph import (
    as_recording,
    cluster,
    passes_between,
    steps_between,
    usual_speed,
)
from grasp_jax.proposals import PathTree


class Segment(NamedTuple):
    """A recorded piece: `states` `[n+1, D]`, `actions` `[n, A]` or None, and its first row."""

    states: np.ndarray
    actions: np.ndarray | None
    row: int

    def init_actions(self, horizon: int) -> np.ndarray:
        """`[horizon, A]`: the recorded actions, cut or followed by zeros; starts any planner.

        Raises:
          ValueError: The recording has no actions.
        """
        if self.actions is None:
            raise ValueError("The index was built without actions: pass actions= to build_index.")
        kept = self.actions[:horizon]
        return np.concatenate([kept, np.zeros((horizon - len(kept), kept.shape[1]), kept.dtype)])


@dataclasses.dataclass(frozen=True)
class StateIndex:
    """Recorded states, their clusters, and the transitions between clusters. Lives on the host.

    Attributes:
      states: `[M, D]`, the recording.
      actions: `[M, A]`, the action taken in each state, or None.
      episodes: `[M]`, rows of one value, in their order, follow each other.
      labels: `[M]`, the node of each row.
      nodes: `[N, D]`, recorded states, one near the middle of each cluster.
      transitions: `[N, N]` sparse, fewest model steps seen from node to node.
      scale, radius, speed, hops_per_step: See `PathTree`.
    """

    states: np.ndarray
    actions: np.ndarray | None
    episodes: np.ndarray
    labels: np.ndarray
    nodes: np.ndarray
    transitions: Any
    scale: np.ndarray
    radius: float
    speed: float
    hops_per_step: int

    def towards(self, goal: Any) -> PathTree:
        """The shortest ways from every node to `goal` `[D]`: one Dijkstra.

        Raises:
          ValueError: `goal` has another shape, is not finite, or no node is near.
        """
        from scipy import sparse
        from scipy.sparse import csgraph

        goal = self._state(goal, "goal")
        gaps = self._gaps(goal)
        near = np.flatnonzero(gaps <= self.radius)
        require(
            len(near) > 0,
            f"goal is {gaps.min():.3g} from the nearest recorded state, the index knows what lies "
            f"within {self.radius:.3g}. Record data there, or raise radius in build_index.",
        )
        count = len(self.nodes)
        # An explicit zero would be no edge.
        arrival = np.maximum(gaps[near] / self.speed, 1e-6)
        last = sparse.csr_array(
            (arrival, (np.full(len(near), count), near)), shape=(count + 1, count + 1)
        )
        backwards = self.transitions.T.tocoo()
        backwards = sparse.csr_array(
            (backwards.data, (backwards.row, backwards.col)), shape=(count + 1, count + 1)
        )
        steps, before = csgraph.dijkstra(backwards + last, indices=count, return_predecessors=True)
        own = np.arange(count + 1)
        return PathTree(
            nodes=jnp.asarray(np.concatenate([self.nodes, goal[None]])),
            following=jnp.asarray(np.where(before < 0, own, before), jnp.int32),
            steps_to_go=jnp.asarray(steps, jnp.float32),
            scale=jnp.asarray(self.scale, jnp.float32),
            radius=jnp.asarray(self.radius, jnp.float32),
            speed=jnp.asarray(self.speed, jnp.float32),
            hops_per_step=self.hops_per_step,
        )

    def path(self, state: Any, goal: Any) -> tuple[np.ndarray, np.ndarray]:
        """The shortest way as a list: states `[K, D]` from `state` to `goal`, model steps `[K]`.

        Raises:
          ValueError: Either has another shape, is not finite or lies off the graph; or the
            recording holds no way from one to the other.
        """
        state = self._state(state, "state")
        tree = self.towards(goal)
        gaps = np.append(self._gaps(state), np.inf)
        direct = np.linalg.norm((np.asarray(tree.goal) - state) / self.scale)
        gaps[-1] = direct
        require(
            gaps.min() <= self.radius,
            f"state is {gaps.min():.3g} from the nearest recorded state, the index knows what lies "
            f"within {self.radius:.3g}. Record data there, or raise radius in build_index.",
        )
        steps = np.asarray(tree.steps_to_go)
        totals = np.where(gaps <= self.radius, steps + gaps / self.speed, np.inf)
        require(
            bool(np.isfinite(totals).any()),
            "the recording holds no way from state to goal: they lie in parts of the data that no "
            "episode connects. Record more, or lower num_nodes so that more episodes meet.",
        )
        passed = [int(np.argmin(totals))]
        following = np.asarray(tree.following)
        while passed[-1] != len(self.nodes):
            passed.append(int(following[passed[-1]]))
        rows = np.concatenate([state[None], np.asarray(tree.nodes)[passed]])
        return rows, np.concatenate([[0.0], totals[passed[0]] - steps[passed]])

    def segment(self, state: Any, tree: PathTree, num_rows: int, neighbors: int = 64) -> Segment:
        """The recorded piece that starts near `state` and ends nearest to the tree's goal.

        Args:
          state: `[D]`.
          tree: The ways to the goal, from `towards`.
          num_rows: Its length; shorter where its episode ends.
          neighbors: How many recorded rows near `state` to compare.

        Raises:
          ValueError: No recorded row lies within `radius` of `state`.
        """
        from scipy.spatial import KDTree

        num_rows, neighbors = as_count(num_rows, "num_rows"), as_count(neighbors, "neighbors")
        state = self._state(state, "state")
        gaps, rows = KDTree(self.states / self.scale).query(
            state / self.scale, k=min(neighbors, len(self.states))
        )
        gaps, rows = np.atleast_1d(gaps), np.atleast_1d(rows)
        rows = rows[gaps <= self.radius]
        require(
            len(rows) > 0,
            f"state is {gaps.min():.3g} from the nearest recorded state, the index knows what lies "
            f"within {self.radius:.3g}. Record data there, or raise radius in build_index.",
        )
        last_rows = self._ends[np.searchsorted(self._ends, rows)]
        ends = np.minimum(rows + num_rows, last_rows)
        to_go = np.asarray(tree.steps_to_go)[self.labels[ends]]
        best = int(np.argmin(to_go))
        first, last = int(rows[best]), int(ends[best])
        actions = None if self.actions is None else self.actions[first:last]
        return Segment(self.states[first : last + 1], actions, first)

    @property
    def _ends(self) -> np.ndarray:
        """The last row of each episode."""
        return np.append(
            np.flatnonzero(self.episodes[1:] != self.episodes[:-1]), len(self.states) - 1
        )

    def _gaps(self, state: np.ndarray) -> np.ndarray:
        return np.linalg.norm((self.nodes - state) / self.scale, axis=-1)

    def _state(self, value: Any, name: str) -> np.ndarray:
        value = np.asarray(value, self.states.dtype)
        size = self.states.shape[1]
        require(value.shape == (size,), f"{name} must be [{size}], got {list(value.shape)}.")
        require(bool(np.isfinite(value).all()), f"{name} is not finite: {value!r:.80}.")
        return value


def build_index(
    states: Any,
    episodes: Any,
    *,
    actions: Any = None,
    num_nodes: int = 1024,
    rows_per_step: int = 1,
    radius: float | None = None,
    scale: Any = 1.0,
    max_jump: float | None = None,
    reach: int = 2,
    sweeps: int = 2,
    seed: int = 0,
) -> StateIndex:
    """Clusters recorded states and counts the steps between clusters.

    A million states of two numbers take 13 s on one core and 110 MB beside the recording; the
    nearest neighbors of latents of a hundred numbers take a hundred times as long: lower
    `num_nodes` and `sweeps`, or index every n-th row.

    Args:
      states: `[M, D]`, the recorded states or latents, episode after episode.
      episodes: `[M]` ints, which episode each row belongs to.
      actions: `[M, A]`, the action taken in each row, if `segment` is to return them.
      num_nodes: Clusters, at most one per row. A cluster must not reach through a wall: choose so
        many that `radius`, their spacing, stays below the walls' thickness.
      rows_per_step: Recorded rows per step of the world model.
      radius: How near a state must be to a node to be known, in scaled units; by default three
        times the distance to their node that nine tenths of the recording keep, and at least a
        step's usual length.
      scale: A number or `[D]`, divides states before distances are taken.
      max_jump: Longer moves from row to row do not count (teleports, resets inside an episode);
        None for no limit. The graph counts fewest steps, so that moves of luck would look short.
      reach: From each cluster an episode passes, count the steps to so many that it passes next.
        More makes straighter paths, which cut the corners that the episode went around.
      sweeps: Of k-means.
      seed: Of the rows that may become nodes.

    Raises:
      TypeError: A count is no integer.
      ValueError: Shapes do not fit, a number is out of its range, a state is not finite, or nothing
        ever moves.
    """
    points, episodes, actions = as_recording(states, episodes, actions)
    num_nodes, rows_per_step = (
        as_count(num_nodes, "num_nodes"),
        as_count(rows_per_step, "rows_per_step"),
    )
    reach, sweeps = as_count(reach, "reach"), as_count(sweeps, "sweeps", 0)
    require(radius is None or radius > 0, f"radius must be positive, got {radius!r:.60}.")
    factors, size = np.asarray(scale, np.float32), points.shape[1]
    require(
        factors.shape in ((), (size,)),
        f"scale must be a number or [{size}], got {list(factors.shape)}.",
    )
    factors = np.broadcast_to(factors, (size,))
    require(bool((factors > 0).all()), f"scale must be positive, got {scale!r:.60}.")
    scaled = points / factors
    moves = np.linalg.norm(np.diff(scaled, axis=0), axis=1)
    if max_jump is not None:
        cuts = (episodes[1:] != episodes[:-1]) | (moves > max_jump)
        episodes = np.concatenate([[0], np.cumsum(cuts)])
    speed = usual_speed(scaled, episodes, rows_per_step)
    nodes, labels, gaps = cluster(scaled, min(num_nodes, len(points)), sweeps, seed)
    if radius is None:
        radius = max(3 * float(np.quantile(gaps, 0.9)), speed)
    passes = passes_between(labels, gaps, episodes, len(nodes), reach)
    steps = steps_between(scaled[nodes], passes, rows_per_step, speed)
    return StateIndex(
        states=points,
        actions=actions,
        episodes=episodes,
        labels=labels,
        nodes=points[nodes],
        transitions=steps,
        scale=factors,
        radius=float(radius),
        speed=speed,
        hops_per_step=rows_per_step,
    )
