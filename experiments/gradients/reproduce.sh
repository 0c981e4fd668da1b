#!/usr/bin/env bash
# State gradients: the models (shipped), planning through them, the descents. An hour.
# Every command resumes after a kill and leaves alone what is recorded already.
set -euo pipefail
cd "$(dirname "$0")/../.."

# Wall's first LeWM.
python -m experiments.models.lewm.train --environment=wall
python -m experiments.mazes --environment=wall --checkpoint=wall_lewm --goals=100 \
    --horizons=10,30,50 \
    --planners=iCEM,GD-Adam,GD-Adam-x8,LatCo,GRASP,GRASP-state-gradient,GRASP-sync-only,GRASP-author,GRASP-author-state-gradient,GRASP-author-sync-only \
    --output=experiments/results/wall_lewm
python -m experiments.mazes --environment=wall --checkpoint=wall_lewm --goals=200 \
    --horizons=30,50 --nopictures \
    --planners=GRASP,GRASP-state-gradient,GRASP-sync-only,GRASP-author,GRASP-author-state-gradient \
    --output=experiments/results/wall_lewm
python -m experiments.gradients
python -m experiments.gradients --goal_weight=1

# One that predicts changes, of fewer updates.
python -m experiments.models.lewm.train --environment=wall --skip --updates=2500 \
    --head_updates=1000 --work=data/wall_lewm_skip \
    --output=experiments/checkpoints/wall_lewm_skip.safetensors
python -m experiments.gradients --checkpoint=wall_lewm_skip
python -m experiments.gradients --checkpoint=wall_lewm_skip --goal_weight=1
python -m experiments.mazes --environment=wall --checkpoint=wall_lewm_skip --goals=100 \
    --horizons=50 --nopictures \
    --planners=GRASP-author,GRASP-author-state-gradient,GRASP-author-sync-only \
    --output=experiments/results/wall_lewm_skip

# The tables of the pages.
python -m experiments.tables
