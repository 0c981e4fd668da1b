#!/usr/bin/env bash
# Every command behind README.md, after pip install "grasp_jax[ogbench]". Data: 2 million simulator steps.
set -euo pipefail
cd "$(dirname "$0")/../.."

python -m experiments.ogbench.collect --output=data/ogbench
python -m experiments.ogbench.train --data=data/ogbench
python -m experiments.ogbench.train --data=data/ogbench --mazes=giant --kinds=stitch --frames=1

# The tables: ours, open and closed loop; the baselines' settings, then the baselines.
python -m experiments.ogbench --data=data/ogbench --output=experiments/results/ogbench_states \
    --modes=open --episodes=50 --seeds=0,1,2
python -m experiments.ogbench --data=data/ogbench --output=experiments/results/ogbench_states \
    --modes=closed --episodes=10
python -m experiments.ogbench --data=data/ogbench --output=experiments/results/ogbench_states \
    --tune --mazes=giant --kinds=stitch --episodes=2
python -m experiments.ogbench --data=data/ogbench --output=experiments/results/ogbench_states \
    --modes=open --mazes=giant --kinds=stitch --episodes=5 \
    --rows=GRASP-oracle,GRASP-line,CEM-graph,iCEM-graph,MPPI-graph,GD-graph
python -m experiments.ogbench --data=data/ogbench --output=experiments/results/ogbench_states \
    --modes=open --mazes=medium --kinds=navigate --episodes=5 \
    --rows=GRASP-oracle,GRASP-line,CEM-graph,iCEM-graph,MPPI-graph,GD-graph
python -m experiments.ogbench --data=data/ogbench --output=experiments/results/ogbench_states \
    --modes=open --mazes=giant --kinds=stitch --rows=iCEM,GD
python -m experiments.ogbench --data=data/ogbench --output=experiments/results/ogbench_states \
    --modes=closed --mazes=giant --kinds=stitch --episodes=4 \
    --rows=CEM-graph,iCEM-graph,MPPI-graph,GRASP-line

# From frames: draw them (half an hour of one core), learn eyes and a model, plan, draw.
python -m experiments.ogbench.frames --data=data/ogbench --mazes=giant --kinds=stitch
python -m experiments.ogbench --data=data/ogbench --observation=pixels --mazes=giant --kinds=stitch \
    --modes=open,closed --episodes=10 --output=experiments/results/ogbench_pixels
python -m experiments.ogbench.frames --data=data/ogbench --mazes=medium --kinds=navigate --steps=30000
python -m experiments.ogbench --data=data/ogbench --observation=pixels --mazes=medium \
    --kinds=navigate --modes=open,closed --episodes=10 --output=experiments/results/ogbench_pixels
python -m experiments.ogbench.seen --data=data/ogbench --output=experiments/results/ogbench_pixels

# One search over T steps, widths of segments, the ball world, pictures.
python -m experiments.ogbench.depth --data=data/ogbench \
    --output=experiments/results/ogbench_states --goals=3
python -m experiments.ogbench.ball_paths --output=experiments/results/ogbench_states
python -m experiments.ogbench.figures --data=data/ogbench --output=experiments/results/ogbench_states
