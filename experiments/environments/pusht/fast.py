"""Push-T without gym: the same physics, minus coverage, observations and contact counting."""

import pymunk

from experiments.environments.pusht.simulator import PushTSimulator, gym_pusht_class

TICK = 0.01
TICKS_PER_STEP = 10
PROPORTIONAL_GAIN = 100
DERIVATIVE_GAIN = 20

_WALLS = (
    ((5, 506), (5, 5)),
    ((5, 5), (506, 5)),
    ((506, 5), (506, 506)),
    ((5, 506), (506, 506)),
)


class FastPushT(PushTSimulator):
    """The physics of `PushT`, bit for bit, an order of magnitude faster and without frames."""

    def __init__(self) -> None:
        self._build()

    def _build(self) -> None:
        # Same objects in the same order as gym-pusht's setup: the solver visits contacts in an
        # order that depends on it.
        env = gym_pusht_class()
        space = pymunk.Space()
        space.damping = 0.0
        space.add(*(env.add_segment(space, start, end, 2) for start, end in _WALLS))
        self._agent = env.add_circle(space, (256, 400), 15)
        self._block, _ = env.add_tee(space, (256, 300), 0)
        self._space = space

    def _drive(self, x: float, y: float) -> None:
        agent, advance = self._agent, self._space.step
        # The solver never changes a kinematic body's velocity, so it need not be read back.
        vx, vy = agent.velocity
        for _ in range(TICKS_PER_STEP):
            px, py = agent.position
            vx += (PROPORTIONAL_GAIN * (x - px) + DERIVATIVE_GAIN * (0 - vx)) * TICK
            vy += (PROPORTIONAL_GAIN * (y - py) + DERIVATIVE_GAIN * (0 - vy)) * TICK
            agent.velocity = vx, vy
            advance(TICK)
