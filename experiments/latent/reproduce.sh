#!/usr/bin/env bash
# Two learned latents of Push-T: trained and planned on a GPU in ten minutes, the rest on a CPU.
# Every command resumes after a kill and leaves alone what is recorded already.
set -euo pipefail
cd "$(dirname "$0")/../.."

# Collects, trains both, compiles beside the training, plans. Without a GPU the same, in days.
python -m experiments.latent.pipeline --work=runs/latent --train_seconds=320 --plan_seconds=220

# What is left of the tables, with pictures.
python -m experiments.latent --checkpoint=runs/latent/models/pusht_vector.safetensors \
    --planners=all --goals=100 --checks=5 --output=runs/latent/results/pusht_vector
python -m experiments.latent --checkpoint=runs/latent/models/pusht_tokens.safetensors \
    --planners=all --goals=100 --checks=5 --output=runs/latent/results/pusht_tokens

# What limits the vector: its encoder, its predictor, or where its variance lies; two minutes.
python -m experiments.latent.limits --checkpoint=pusht_vector \
    --output=experiments/results/pusht_latent/limits.json

# The code of the vector with a first motion, an hour of one core; then the shipped motions, an hour
# more, 25 minutes of which encode.
python -m experiments.environments.pusht.collect --output=data/pusht100 --trajectories=100000
python -m experiments.models.latent.compress --data=data/pusht100 --work=data/pusht_code \
    --output=runs/latent/pusht_code_first.safetensors
python -m experiments.models.latent.movers --start=runs/latent/pusht_code_first.safetensors \
    --data=data/pusht100 --work=data/pusht_code --action_limit=2

# Executed plans in the data; it did not help, and is not shipped. Encodes anew, an hour.
python -m experiments.latent.collect --checkpoint=pusht_code --goals=5000 --chunk=100 \
    --output=data/pusht_code_plans
python -m experiments.models.latent.movers --data=data/pusht100 --work=data/pusht_code_planned \
    --plans=data/pusht_code_plans --stages=10:256:6000:2e-3 --action_limit=2 \
    --output=runs/latent/pusht_code_planned.safetensors
python -m experiments.latent.limits --checkpoint=pusht_code --axes=runs/latent/code_axes.safetensors \
    --output=experiments/results/pusht_latent/limits_code.json

# Settings on other goals; plans through the code, open and closed loop; an hour of two cores.
python -m experiments.latent.tune --checkpoint=runs/latent/pusht_code_first.safetensors --goals=32 \
    --output=experiments/results/pusht_latent
python -m experiments.latent.tune --checkpoint=pusht_code --goals=32 \
    --families=CEM,iCEM,GD-Adam-x8,GRASP,LatCo,GD-Adam,GRASP-plain \
    --output=experiments/results/pusht_latent/tuning_shipped
python -m experiments.latent --checkpoint=pusht_code --horizons=25,50,80 --goals=200 --checks=5 \
    --planners=zero_action,ground_truth,CEM,iCEM,MPPI,GD-Adam,GD-Adam-x8,LatCo,GRASP-author,GRASP-plain,GRASP,GRASP-sync-only \
    --nocompile_fast --output=experiments/results/pusht_latent/pusht_code
python -m experiments.latent --checkpoint=pusht_code --horizons=50 --goals=200 --checks=5 \
    --planners=author-state-gradient,author-no-goal-term,author-sync-only,author-no-sync,author-no-sync-state-gradient,GRASP-state-gradient,GRASP-goal-term,GRASP-no-sync,GRASP-segments-sync \
    --nocompile_fast --nopictures --output=experiments/results/pusht_latent/pusht_code
python -m experiments.latent --checkpoint=pusht_code --horizons=50 --goals=500 --checks=5 \
    --planners=zero_action,ground_truth,GRASP,GRASP-sync-only,CEM,iCEM --nocompile_fast --nopictures \
    --output=experiments/results/pusht_latent/pusht_code
python -m experiments.latent --checkpoint=pusht_code --horizons=80 --goals=500 --checks=5 \
    --planners=zero_action,ground_truth,GRASP,GRASP-sync-only --nocompile_fast --nopictures \
    --output=experiments/results/pusht_latent/pusht_code
python -m experiments.latent --checkpoint=pusht_code --horizons=25 --goals=50 --replan_every=1 \
    --planners=GRASP,CEM,iCEM,GD-Adam-x8,GRASP-sync-only,LatCo --nocompile_fast --nopictures \
    --output=experiments/results/pusht_latent/pusht_code_loop
# The same without the limit on actions.
python -m experiments.latent --checkpoint=pusht_code@free --horizons=25 --goals=50 --replan_every=1 \
    --planners=GRASP,iCEM,GD-Adam-x8 --nocompile_fast --nopictures \
    --output=experiments/results/pusht_latent/pusht_code_loop_free

# Plans through the code kept near frames (recorded through its first motion), and through the
# vector with scaled axes as the goal cost. Then the picture.
python -m experiments.latent --checkpoint=pusht_code@kept --planners=CEM,GRASP --horizons=50 \
    --goals=200 --checks=5 --nocompile_fast --nopictures \
    --output=experiments/results/pusht_latent/pusht_code_kept
python -m experiments.latent --checkpoint=pusht_vector@scaled --planners=GRASP --horizons=50 \
    --goals=30 --checks=5 --nopictures --output=experiments/results/pusht_latent/pusht_vector_scaled
python -m experiments.latent.imagined --checkpoint=pusht_code \
    --folder=experiments/results/pusht_latent/pusht_code

# State gradients of the vector; not recorded yet.
python -m experiments.gradients --environment=pusht \
    --checkpoint=runs/latent/models/pusht_vector.safetensors \
    --output=runs/latent/results/gradients

# What a goal cost on patches is worth with good dynamics; recorded, half an hour of a CPU.
python -m experiments.latent.metric_limit --goals=40 --costs=state,patches \
    --output=experiments/results/pusht_latent/metric_limit
