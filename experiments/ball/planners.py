"""The planners of the ball-navigation table: what was tried for each, and what was chosen.

Every plan may spend about 110,000 model evaluations, forward and backward counted alike. One
setting serves both maps. `experiments.ball.tune` scores the candidates on starts
that the table does not use; results are in `results/ball_navigation/tuning.csv`.
"""

from typing import Any

from grasp_jax import (
    AR1,
    CEM,
    GD,
    GRASP,
    ICEM,
    MPPI,
    Chain,
    Colored,
    Hops,
    LatCo,
    MultiStart,
    ViaPoints,
)

_SMOOTH = Colored(exponent=3.0)


def _population(
    starts: int, sync_steps: int, scale: float, action_rate: float = 0.4, state_rate: float = 0.03
) -> MultiStart:
    """Virtual states on random ways, nearly frozen, while the actions learn to follow them."""
    lifted = 8
    sync = GD(learning_rate=0.1, iterations=sync_steps)
    return MultiStart(
        GRASP(
            iterations=lifted,
            state_rate=state_rate,
            action_rate=action_rate,
            goal_weight=0.0,
            state_std=0.0,
            init_states=ViaPoints(num_points=3, std=scale),
            sync=sync,
            sync_every=lifted,
        ),
        num_starts=starts,
    )


def _syncs(planner: Any, count: int, noise: float = 0.0, shape: Any = _SMOOTH) -> Hops:
    """Syncs alone, each from the best plan so far."""
    return Hops(planner=planner, iterations=count, std=noise, noise=shape)


def _hops(count: int, noise: float = 1.0, shape: Any = _SMOOTH) -> Hops:
    """Descent from the best plan under time-correlated noise, again and again."""
    return _syncs(GD(learning_rate=0.1, iterations=10), count, noise, shape)


def _polished(sampler: Any) -> Chain:
    """A sync by sampling; a few descent steps then close the distance that sampling leaves."""
    return Chain(sampler, GD(learning_rate=0.1, iterations=40))


def candidates() -> dict[str, list[Any]]:
    """Name in tables to everything tried for it, all of about the same effort."""
    shapes = (AR1(rho=0.9), Colored(exponent=2.0), Colored(exponent=3.0))
    rates = (0.01, 0.03, 0.1)
    weights = (1.0, 100.0)
    return {
        "CEM": [
            CEM(num_samples=100, num_elites=elites, iterations=18, std=std, min_std=floor)
            for elites in (10, 5)
            for std in (0.5, 1.0, 2.0)
            for floor in (0.0, 0.2)
        ],
        "CEM-correlated": [
            CEM(
                num_samples=100,
                num_elites=elites,
                iterations=18,
                std=std,
                min_std=floor,
                noise=noise,
            )
            for elites in (10, 5)
            for noise in (shapes[0], shapes[2])
            for std in (1.0, 2.0, 3.0)
            for floor in (0.0, 0.2, 0.5)
        ],
        "iCEM": [
            ICEM(
                num_samples=100,
                num_elites=elites,
                num_kept=kept,
                iterations=17,
                std=std,
                min_std=floor,
                noise=noise,
            )
            for elites, kept in ((10, 5), (5, 3))
            for noise in shapes[1:]
            for std in (1.0, 2.0, 3.0)
            for floor in (0.0, 0.2, 0.5)
        ]
        # The best of those lay at the edge of what was tried.
        + [
            ICEM(
                num_samples=100,
                num_elites=5,
                num_kept=3,
                iterations=17,
                std=std,
                min_std=floor,
                noise=noise,
            )
            for noise in shapes[1:]
            for std, floor in ((3.0, 0.8), (4.0, 0.5), (4.0, 0.8))
        ],
        "MPPI": [
            MPPI(num_samples=100, iterations=18, std=std, temperature=temperature, noise=noise)
            for noise in shapes
            for std in (0.3, 0.5, 1.0)
            for temperature in (0.003, 0.01, 0.03, 0.1)
        ],
        "GD": [GD(learning_rate=rate, iterations=900) for rate in (0.003, *rates)],
        "GD-restarts": [
            MultiStart(
                GD(learning_rate=rate, iterations=steps),
                num_starts=starts,
                start_std=noise,
                noise=shape,
            )
            for starts, steps in ((16, 56), (44, 20))
            for shape in shapes
            for rate in (0.05, 0.1)
            for noise in (1.0, 1.5, 2.0)
        ],
        "LatCo": [
            LatCo(learning_rate=rate, iterations=850, multiplier=weight)
            for rate in rates
            for weight in weights
        ]
        + [
            MultiStart(
                LatCo(
                    learning_rate=rate,
                    iterations=85,
                    multiplier=weight,
                    init_states=ViaPoints(num_points=3, std=0.5),
                ),
                num_starts=10,
            )
            for rate in rates
            for weight in weights
        ],
        "GRASP-author": [GRASP()],
        "GRASP-lifted": [
            _population(36, 16, scale, rate, slow)
            for scale in (0.5, 0.8)
            for rate in (0.2, 0.4)
            for slow in (0.0, 0.03)
        ],
        "GRASP-hops": [_hops(78, noise, shape) for shape in shapes for noise in (0.7, 1.0, 1.5)],
        "GRASP-GD": [
            Chain(_population(12, 10, scale), _hops(59, noise, shape))
            for shape in shapes
            for scale in (0.5, 0.8)
            for noise in (0.7, 1.0)
        ],
        "GRASP": [
            Chain(_population(12, 10, 0.8), _syncs(_polished(sampler), 1))
            for shape in shapes[1:]
            for sampler in (
                *(
                    ICEM(
                        num_samples=100,
                        num_elites=10,
                        num_kept=5,
                        iterations=11,
                        std=s,
                        min_std=0.2,
                        noise=shape,
                    )
                    for s in (1.0, 2.0, 3.0)
                ),
                *(
                    MPPI(
                        num_samples=100,
                        iterations=12,
                        std=0.5,
                        temperature=temperature,
                        noise=shape,
                    )
                    for temperature in (0.003, 0.01, 0.03)
                ),
                *(
                    MPPI(
                        num_samples=100,
                        iterations=12,
                        std=1.0,
                        temperature=temperature,
                        noise=shape,
                    )
                    for temperature in (0.003, 0.01, 0.03)
                ),
            )
        ]
        + [
            Chain(_population(12, 10, 0.8), _syncs(_polished(sampler), 1))
            for shape in shapes[1:]
            for sampler in (
                ICEM(
                    num_samples=100,
                    num_elites=5,
                    num_kept=3,
                    iterations=11,
                    std=std,
                    min_std=0.5,
                    noise=shape,
                )
                for std in (2.0, 3.0)
            )
        ],
    }


CHOSEN = {
    "CEM": 11,
    "CEM-correlated": 32,
    "iCEM": 35,
    "MPPI": 32,
    "GD": 1,
    "GD-restarts": 35,
    "LatCo": 10,
    "GRASP-author": 0,
    "GRASP-lifted": 4,
    "GRASP-hops": 8,
    "GRASP-GD": 8,
    "GRASP": 16,
}
"""The candidate with the best mean success over both maps on the tuning starts."""


def planners() -> dict[str, Any]:
    """Name in tables to the chosen planner, in the order of the tables."""
    return {name: tried[CHOSEN[name]] for name, tried in candidates().items()}
