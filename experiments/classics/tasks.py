"""All tasks of the study, by name."""

from experiments.classics import abstract, moving, swinging
from experiments.classics.task import Task


def all_tasks() -> dict[str, Task]:
    """Fifteen tasks; the three latents differ in size alone."""
    tasks = (
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
    return {task.name: task for task in tasks}
