#!/usr/bin/env bash
# Every command behind README.md, after pip install "grasp_jax[ogbench]". Data: 2 million simulator steps.
set -euo pipefail
cd "$(dirname "$0")/../.."

python -m experiments.ogbench.collect --output=data/ogbench
python -m experiments.ogbench.train --data=data/ogbench
python -m experiments.ogbench.train --data=data/ogbench --mazes=giant --kinds=stitch --frames=1

# The tables: open loop, closed loop, and the same way under other planners.
python -m experiments.ogbench --data=data/ogbench --output=experiments/results/ogbench_states \
    --modes=open --episodes=10 --seeds=0,1,2
python -m experiments.ogbench --data=data/ogbench --output=experiments/results/ogbench_states \
    --modes=closed --episodes=10
python -m experiments.ogbench --data=data/ogbench --output=experiments/results/ogbench_states \
    --tune --mazes=giant --kinds=stitch --episodes=1
python -m experiments.ogbench --data=data/ogbench --output=experiments/results/ogbench_states \
    --modes=closed --mazes=giant --kinds=stitch --rows=all --episodes=3

# One search over T steps, widths of segments, the ball world, pictures.
python -m experiments.ogbench.depth --data=data/ogbench \
    --output=experiments/results/ogbench_states --goals=3
python -m experiments.ogbench.ball_paths --output=experiments/results/ogbench_states
python -m experiments.ogbench.figures --data=data/ogbench --output=experiments/results/ogbench_states
