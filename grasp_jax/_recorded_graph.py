"""The graph of a recording, on the host: nodes that stand for its rows, steps between them."""

from typing import Any

import numpy as np

from grasp_jax._fields import require

_CANDIDATES = 16  # rows per node among which the nodes are chosen


def as_recording(
    states: Any, episodes: Any, actions: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """States `[M, D]`, episodes `[M]`, actions `[M, A]` or None, checked."""
    points = np.ascontiguousarray(states, np.float32)
    require(
        points.ndim == 2 and len(points) >= 2 and points.shape[1] >= 1,
        f"states must be [M, D] with at least two rows, got {list(points.shape)}. Join episodes "
        "along the first axis, and flatten each state.",
    )
    episodes = np.asarray(episodes)
    require(
        episodes.shape == points.shape[:1],
        f"episodes must be [{len(points)}], one entry per row of states, got "
        f"{list(episodes.shape)}.",
    )
    broken = np.flatnonzero(~np.isfinite(points).all(1))
    require(
        len(broken) == 0,
        f"states must be finite, but {len(broken)} rows are not, the first is row "
        f"{broken[0] if len(broken) else 0}. Leave their episodes out.",
    )
    if actions is None:
        return points, episodes, None
    actions = np.asarray(actions)
    require(
        actions.ndim == 2 and len(actions) == len(points),
        f"actions must be [{len(points)}, A], one row per state (any numbers in an episode's last "
        f"one), got {list(actions.shape)}.",
    )
    return points, episodes, actions


def usual_speed(scaled: np.ndarray, episodes: np.ndarray, rows_per_step: int) -> float:
    """The distance that a tenth of the recorded steps exceed."""
    together = episodes[rows_per_step:] == episodes[:-rows_per_step]
    moved = np.linalg.norm(scaled[rows_per_step:] - scaled[:-rows_per_step], axis=1)[together]
    speed = float(np.quantile(moved, 0.9)) if len(moved) else 0.0
    require(
        speed > 0,
        "the recording never moves: no two rows of one episode that lie a model step apart differ. "
        "Check episodes (one value per episode, rows in order) and rows_per_step.",
    )
    return speed


def cluster(
    points: np.ndarray, count: int, sweeps: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The rows that stand for the clusters, each row's cluster, its distance to that row.

    Farthest points first: a place that the recording passed once needs a node as much as one it
    passed a thousand times, which k-means from random rows would give it.
    """
    from scipy.spatial import KDTree

    rng = np.random.default_rng(seed)
    kept = rng.permutation(len(points))[: _CANDIDATES * count]
    centers = _farthest(points[kept], count).astype(np.float64)
    for _ in range(sweeps):
        _, labels = KDTree(centers).query(points)
        sizes = np.bincount(labels, minlength=count)
        sums = [np.bincount(labels, points[:, d], count) for d in range(points.shape[1])]
        means = np.stack(sums, 1) / np.maximum(sizes, 1)[:, None]
        centers = np.where(sizes[:, None] > 0, means, centers)
    # A mean may lie where no state can be.
    _, rows = KDTree(points).query(centers)
    rows = np.unique(rows)
    gaps, labels = KDTree(points[rows]).query(points)
    return rows, np.asarray(labels), gaps


def _farthest(points: np.ndarray, count: int) -> np.ndarray:
    """`count` of the points, each the farthest from those before it."""
    chosen = np.zeros(count, int)
    gaps = np.full(len(points), np.inf, np.float32)
    for i in range(1, count):
        gaps = np.minimum(gaps, np.square(points - points[chosen[i - 1]]).sum(1))
        chosen[i] = np.argmax(gaps)
    return points[chosen]


def steps_between(nodes: np.ndarray, transitions: Any, rows_per_step: int, speed: float) -> Any:
    """Model steps `[N, N]` of the transitions.

    An episode clips the corners of the clusters it passes: over many episodes the fewest rows seen
    undercut what the way from node to node takes. No way is counted faster than `speed`.
    """
    from scipy import sparse

    pairs = transitions.tocoo()
    distances = np.linalg.norm(nodes[pairs.row] - nodes[pairs.col], axis=1)
    steps = np.maximum(pairs.data / rows_per_step, distances / speed)
    return sparse.csr_array((steps, (pairs.row, pairs.col)), shape=transitions.shape)


def passes_between(
    labels: np.ndarray, gaps: np.ndarray, episodes: np.ndarray, count: int, reach: int
) -> Any:
    """Fewest rows `[N, N]` from cluster to cluster, from closest approach to closest approach."""
    from scipy import sparse

    changes = (labels[1:] != labels[:-1]) | (episodes[1:] != episodes[:-1])
    visit = np.concatenate([[0], np.cumsum(changes)])
    # The row of each visit that comes closest to the node: sort by visit, then by distance.
    order = np.lexsort((gaps, visit))
    closest = order[np.searchsorted(visit[order], np.arange(visit[-1] + 1))]
    pairs = []
    for ahead in range(1, min(reach, int(visit[-1])) + 1):
        here, there = closest[:-ahead], closest[ahead:]
        together = (episodes[here] == episodes[there]) & (labels[here] != labels[there])
        pairs.append(np.stack([labels[here], labels[there], there - here], 1)[together])
    edges = np.concatenate(pairs) if pairs else np.zeros((0, 3), int)
    # The first of equal pairs is the quickest.
    edges = edges[np.lexsort((edges[:, 2], edges[:, 1], edges[:, 0]))]
    kept = np.unique(edges[:, :2], axis=0, return_index=True)[1]
    source, target, rows = edges[kept].T
    return sparse.csr_array((rows.astype(float), (source, target)), shape=(count, count))
