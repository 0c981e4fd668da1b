"""A page on one's own machine where a planner runs, is watched, and is steered by its goal.

python -m experiments.live                       # the worlds that come with it
grasp_jax_live(dynamics, start, draw)            # one's own world model
"""

from experiments.live.plug import Server, grasp_jax_live

__all__ = ["Server", "grasp_jax_live"]
