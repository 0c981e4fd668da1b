"""All tasks of the study, by name."""

import functools

from experiments.classics import abstract, moving, swinging
from experiments.classics.task import Task


@functools.cache
def all_tasks() -> dict[str, Task]:
    """Fifteen tasks, of which three are latents that differ in size, and their held-out kin.

    The names of the latter end in `_2`: other masses, bounds, units and networks, on which nothing
    was ever tried while defaults were chosen.
    """
    return {task.name: task for task in (*_tasks(), *_held_out())}


def names(held_out: bool = False) -> list[str]:
    """The tasks of the table, or their held-out kin."""
    return [name for name in all_tasks() if name.endswith("_2") == held_out]


def _tasks() -> tuple[Task, ...]:
    return (
        moving.puck(),
        swinging.pendulum(),
        swinging.cart_pole(),
        swinging.acrobot(),
        swinging.mountain_car(),
        moving.unicycle(),
        moving.quadrotor(),
        moving.arm(),
        moving.pushing(),
        moving.maze(),
        abstract.latent(16),
        abstract.latent(64),
        abstract.latent(256),
        abstract.stiff(),
        abstract.lorenz(),
    )


def _held_out() -> tuple[Task, ...]:
    tasks = (
        moving.puck(push=4.0, slip=0.85),
        swinging.pendulum(mass=1.3, torque=5.0),
        swinging.cart_pole(mass=0.2, force=12.0),
        swinging.acrobot(mass=1.2, torque=7.0),
        swinging.mountain_car(power=0.0017),
        moving.unicycle(speed=0.9, turning=2.0),
        moving.quadrotor(mass=1.2, thrust=11.0),
        moving.arm(turn=0.08, link=0.1),
        moving.pushing(step=0.06, reach=0.2),
        moving.maze(step=0.9),
        abstract.latent(16, seed=1, unit=30.0),
        abstract.latent(64, seed=1, unit=0.02),
        abstract.latent(256, seed=1),
        abstract.stiff(stiffness=800.0, force=3.0),
        abstract.lorenz(control=30.0, rayleigh=30.0),
    )
    return tuple(task.renamed(f"{task.name}_2") for task in tasks)
