#!/usr/bin/env bash
# Wall and PointMaze: the recorded tables, the sweeps of settings, the models. Hours.
# Every command resumes after a kill and leaves alone what is recorded already.
set -euo pipefail
cd "$(dirname "$0")/../.."

# Through the shipped models of sprites.
python -m experiments.mazes --environment=wall --goals=500 --nocompile_fast \
    --output=experiments/results/wall_pixels
python -m experiments.mazes --environment=pointmaze --goals=500 --nocompile_fast \
    --output=experiments/results/pointmaze_pixels
python -m experiments.mazes --environment=wall --goals=500 --nocompile_fast --nopictures \
    --planners=GRASP-x2/3,GRASP-iCEM,iCEM-x2 --output=experiments/results/wall_pixels
python -m experiments.mazes --environment=wall --goals=500 --nocompile_fast --nopictures \
    --planners=CEM-5,iCEM-5,MPPI-cold,GD-Adam-16x50 --output=experiments/results/wall_pixels
python -m experiments.mazes --environment=pointmaze --goals=500 --nocompile_fast \
    --planners=CEM-5,iCEM-5,MPPI-cold,GD-Adam-16x50 \
    --output=experiments/results/pointmaze_pixels

# Settings, on other goals than the tables'.
python -m experiments.mazes.tune --environment=wall --goals=200 --families=baselines
python -m experiments.mazes.tune --environment=wall --goals=60
python -m experiments.mazes.tune --environment=pointmaze --goals=40
python -m experiments.mazes.tune --environment=wall --goals=200 \
    --families='GRASP: noise=0.3,GRASP: iCEM as the sync,iCEM: beta=2.0 std=0.5,"GRASP: 16 starts, 4 cycles, 10 sync steps, noise=0.1, exchange","GRASP: 16 starts, 3 cycles, 20 sync steps, noise=0.1, exchange","GRASP: 32 starts, 3 cycles, 10 sync steps, noise=0.1, exchange"'
python -m experiments.mazes.tune --environment=pointmaze --goals=200 \
    --families='iCEM: beta=2.0 std=0.5,"GRASP: 8 starts, 3 cycles","GRASP: 8 starts, 3 cycles, 20 sync steps, noise=0.1, exchange","GRASP: 16 starts, 4 cycles, 10 sync steps, noise=0.1, exchange","GRASP: 16 starts, 3 cycles, 20 sync steps, noise=0.1, exchange","GRASP: 32 starts, 3 cycles, 10 sync steps, noise=0.1, exchange"'

# The models of sprites, the second of Wall's on executed plans, too.
python -m experiments.models.sprites.train --environment=wall --trajectories=1920 \
    --encoder_updates=600 --stages=1:256:12000:3e-3,4:128:12000:1e-3 \
    --output=data/wall_first.safetensors
python -m experiments.mazes.collect --environment=wall --goals=1600 \
    --checkpoint=data/wall_first.safetensors
python -m experiments.models.sprites.train --environment=wall --trajectories=1920 \
    --encoder_updates=600 --stages=1:256:12000:3e-3,4:128:12000:1e-3 --plans=data/wall_plans
python -m experiments.models.sprites.train --environment=pointmaze --encoder_updates=600 \
    --trajectories=1000 --stages=1:256:5000:3e-3,4:128:4000:1e-3

# Wall's LeWM on executed plans: data, model, settings, table.
python -m experiments.mazes.collect --environment=wall --checkpoint=wall_lewm --goals=1600 \
    --output=data/wall_lewm_plans
python -m experiments.models.lewm.train --environment=wall --trajectories=4000 --steps=8 \
    --updates=8000 --plans=data/wall_lewm_plans --work=data/wall_lewm_b \
    --output=data/wall_lewm_b.safetensors
python -m experiments.mazes.collect --environment=wall --checkpoint=data/wall_lewm_b.safetensors \
    --goals=1600 --seed=778 --output=data/wall_lewm_plans_2
python -m experiments.models.lewm.train --environment=wall --trajectories=4000 --steps=8 \
    --updates=8000 --plans=data/wall_lewm_plans,data/wall_lewm_plans_2
python -m experiments.mazes.tune --environment=wall --checkpoint=wall_lewm_plans --goals=40 \
    --output=experiments/results/wall_lewm_plans
python -m experiments.mazes --environment=wall --checkpoint=wall_lewm_plans --goals=200 \
    --horizons=30,50 --nopictures --planners=GRASP-sync-only,GRASP-state-gradient \
    --nocompile_fast --output=experiments/results/wall_lewm_plans
python -m experiments.mazes --environment=wall --checkpoint=wall_lewm_plans --goals=200 \
    --horizons=10,30,50 --nocompile_fast --output=experiments/results/wall_lewm_plans

# PointMaze's LeWM: model, settings, table.
python -m experiments.models.lewm.train --environment=pointmaze --trajectories=1000 --steps=8 \
    --updates=6000
python -m experiments.mazes.tune --environment=pointmaze --checkpoint=pointmaze_lewm --goals=50 \
    --output=experiments/results/pointmaze_lewm
python -m experiments.mazes --environment=pointmaze --checkpoint=pointmaze_lewm --goals=200 \
    --horizons=30,50 --nopictures \
    --planners=GRASP-sync-only,GRASP-state-gradient,Lifted,Lifted-state-gradient,Lifted-dynamics,Lifted-dynamics-state-gradient \
    --nocompile_fast --output=experiments/results/pointmaze_lewm
python -m experiments.mazes --environment=pointmaze --checkpoint=pointmaze_lewm --goals=200 \
    --horizons=10,30,50 --nocompile_fast --output=experiments/results/pointmaze_lewm

# The tables of the pages.
python -m experiments.tables
