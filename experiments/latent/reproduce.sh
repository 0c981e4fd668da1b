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

# The code of the vector and its motion, on one core in a quarter of an hour; the shipped one.
python -m experiments.environments.pusht.collect --output=data/pusht --trajectories=7000
python -m experiments.models.latent.compress --data=data/pusht --work=data/pusht_code \
    --output=experiments/checkpoints/pusht_code.safetensors

# Plans through the code, through the code and kept near frames, and through the vector with scaled
# axes as the goal cost; a quarter of an hour of one core. Then the picture.
python -m experiments.latent --checkpoint=pusht_code --planners=CEM,GRASP --horizons=50 \
    --goals=40 --checks=5 --nopictures --output=experiments/results/pusht_latent/pusht_code
python -m experiments.latent --checkpoint=pusht_code@kept --planners=CEM,GRASP --horizons=50 \
    --goals=40 --checks=5 --nopictures --output=experiments/results/pusht_latent/pusht_code_kept
python -m experiments.latent --checkpoint=pusht_vector@scaled --planners=GRASP --horizons=50 \
    --goals=30 --checks=5 --nopictures --output=experiments/results/pusht_latent/pusht_vector_scaled
python -m experiments.latent.imagined --checkpoint=pusht_code \
    --folder=experiments/results/pusht_latent/pusht_code

# Settings on other goals, three per family; not recorded yet.
python -m experiments.latent.tune --checkpoint=pusht_vector --goals=16 \
    --output=runs/latent/results/tuning

# State gradients of the vector; not recorded yet.
python -m experiments.gradients --environment=pusht \
    --checkpoint=runs/latent/models/pusht_vector.safetensors \
    --output=runs/latent/results/gradients

# What a goal cost on patches is worth with good dynamics; recorded, half an hour of a CPU.
python -m experiments.latent.metric_limit --goals=40 --costs=state,patches \
    --output=experiments/results/pusht_latent/metric_limit
