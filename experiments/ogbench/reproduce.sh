#!/bin/sh
# Every command behind README.md. One core; the machine was shared, so seconds are processor seconds.
set -e
pip install "grasp_jax[ogbench]"
R=experiments/results/ogbench_states
python -m experiments.ogbench.collect --output=data/ogbench                 # 2 million simulator steps
python -m experiments.ogbench.train --data=data/ogbench                     # eight models, seconds each
python -m experiments.ogbench.train --data=data/ogbench --mazes=giant --kinds=stitch --frames=1
run="python -m experiments.ogbench --data=data/ogbench --output=$R"
$run --modes=open --episodes=10 --seeds=0,1,2
$run --modes=closed --mazes=giant --episodes=10
$run --modes=closed --mazes=medium,large,teleport --episodes=4
$run --tune --mazes=giant --kinds=stitch --episodes=1
$run --modes=open --mazes=giant --kinds=stitch --rows=all --episodes=5
$run --modes=closed --mazes=giant --kinds=stitch --rows=all --episodes=3
python -m experiments.ogbench.depth --data=data/ogbench --output=$R --goals=3
python -m experiments.ogbench.ball_paths --output=$R
python -m experiments.ogbench.figures --data=data/ogbench --output=$R
