#!/usr/bin/env bash
# Push-T: the recorded tables, the sweeps of settings, the models. Hours.
# Every command resumes after a kill and leaves alone what is recorded already.
set -euo pipefail
cd "$(dirname "$0")/../.."

# From states; about two hours on 2 cores.
python -m experiments.pusht --observation=state --planners=all --horizons=40,50,60,70,80 \
    --goals=500 --nocompile_fast --nopictures --output=experiments/results/pusht_state
python -m experiments.pusht --observation=state --goals=500 --nocompile_fast \
    --output=experiments/results/pusht_state --horizons=60,80 \
    --planners=iCEM-x2,GD-Adam-x16,GRASP-sync-only-x2,GRASP-x2 --nopictures
python -m experiments.pusht --observation=state --horizons=40,50,60,70,80 --goals=500 \
    --nocompile_fast --nopictures --output=experiments/results/pusht_state \
    --planners=GRASP-no-exchange,GRASP-sync-only,GD-Adam-exchange,GD-Adam-long
python -m experiments.pusht --observation=state --horizons=40,50,60,70,80 --goals=500 \
    --nocompile_fast --output=experiments/results/pusht_state \
    --planners=CEM-15,iCEM-15,GD-Adam-16x150

# From pixels.
python -m experiments.pusht --observation=pixels --planners=all --goals=500 \
    --horizons=10,20,30,40,50,60,70,80 --nocompile_fast \
    --output=experiments/results/pusht_pixels
python -m experiments.pusht --observation=pixels --goals=500 --horizons=20,40,60,80 \
    --nocompile_fast --nopictures --planners=GD-Adam-long \
    --output=experiments/results/pusht_pixels
python -m experiments.pusht --observation=pixels --goals=500 --horizons=40,60,80 \
    --nocompile_fast --nopictures --planners=GRASP-sync-only,iCEM-15,CEM-15 \
    --output=experiments/results/pusht_pixels
python -m experiments.pusht --observation=pixels --goals=500 --horizons=60 --nocompile_fast \
    --nopictures --planners=GD-Adam-16x150 --output=experiments/results/pusht_pixels
python -m experiments.pusht --observation=pixels --goals=50 --horizons=25 --replan_every=1 \
    --planners=GRASP,GRASP-x1/4,GRASP-x1/16,iCEM,iCEM-x1/4,iCEM-x1/16 \
    --output=experiments/results/pusht_pixels

# Far goals, closed loop: two hours on a core.
python -m experiments.pusht.far --goals=50 --offsets=50 --output=experiments/results/pusht_far \
    --rows=GRASP-iCEM,GRASP,iCEM,GRASP-graph,GRASP-truth
python -m experiments.pusht.far --goals=32 --offsets=75,100,150,200 \
    --output=experiments/results/pusht_far --rows=GRASP-iCEM,GRASP,iCEM
python -m experiments.pusht.far --goals=30 --offsets=75,100,150 \
    --output=experiments/results/pusht_far --rows=GRASP-graph,GRASP-truth
python -m experiments.pusht.far --goals=17 --offsets=200 --output=experiments/results/pusht_far \
    --rows=GRASP-graph,GRASP-truth
python -m experiments.pusht.far --goals=11 --output=experiments/results/pusht_far \
    --rows=GRASP-segments,iCEM-graph,iCEM-truth

# One goal alone, on a GPU and on a core.
python -m experiments.pusht --observation=pixels --timing=alone --horizons=40 --goals=50 \
    --nocompile_fast --planners=GRASP,iCEM,GRASP-wide \
    --output=experiments/results/pusht_pixels_h200
python -m experiments.pusht --observation=pixels --timing=alone --horizons=40 --goals=50 \
    --nocompile_fast --planners=GRASP,iCEM,GRASP-wide --workers=1 \
    --output=experiments/results/pusht_pixels_alone

# Settings, on other goals than the tables'.
python -m experiments.pusht.tune \
    --families=CEM,iCEM,MPPI,GD-SGD,GD-Adam,GD-Adam-x8,LatCo,GRASP-author,GRASP
python -m experiments.pusht.tune --goals=100 --horizons=60,80 --families=GRASP-noise
python -m experiments.pusht.tune --goals=100 --horizons=80 \
    --families=GRASP-budget,exchange,baselines
python -m experiments.pusht.tune --observation=pixels --goals=40 --horizons=60
python -m experiments.pusht.tune --observation=pixels --goals=100 --horizons=60 \
    --families="GRASP: plain,GRASP: exchange,GRASP: noise=0.16,GRASP: noise=0.16 exchange,GRASP: noise=0.24 exchange,GRASP: lifted=8,GRASP: lifted=8 exchange,GRASP: lifted=8 noise=0.16 exchange,baselines"
python -m experiments.pusht.tune --observation=pixels --goals=100 --horizons=60 \
    --families="GRASP: wide,iCEM: wide,iCEM: beta=1.0 std=1.0"

# The models (shipped), from data of their own.
python -m experiments.environments.pusht.collect --output=data/pusht
python -m experiments.models.pusht_state.train --data=data/pusht
python -m experiments.models.sprites.train --environment=pusht --trajectories=4000 \
    --stages=1:512:12000:3e-3,4:128:12000:1e-3,10:64:10000:5e-4 \
    --output=data/pusht_first.safetensors
python -m experiments.pusht.collect --goals=600 --horizon=60 \
    --checkpoint=data/pusht_first.safetensors
python -m experiments.models.sprites.train --environment=pusht --trajectories=4000 \
    --stages=1:512:8000:3e-3,4:128:8000:1e-3,10:64:6000:5e-4 --plans=data/pusht_plans

# The same with a model from a GPU.
python -m experiments.pusht.collect --goals=800 --horizon=80 --seed=777 --output=data/pusht_plans80
python -m experiments.pusht.collect --goals=800 --horizon=60 --seed=778 --output=data/pusht_plans60
python -m experiments.models.sprites.train --environment=pusht --trajectories=16000 --width=192 \
    --stages=1:2048:8000:3e-3,4:1024:10000:1.5e-3,12:512:12000:7e-4 --sprites_of=pusht_pixels \
    --plans=data/pusht_plans80,data/pusht_plans60 \
    --output=experiments/checkpoints/pusht_pixels_gpu.safetensors
python -m experiments.pusht --observation=pixels --checkpoint=pusht_pixels_gpu --goals=500 \
    --horizons=40,60,80 --nocompile_fast --planners=GRASP,iCEM \
    --output=experiments/results/pusht_pixels_gpu

# The tables of the pages.
python -m experiments.tables
