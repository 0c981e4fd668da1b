"""One planner family per file. Import planners from `grasp_jax`."""
