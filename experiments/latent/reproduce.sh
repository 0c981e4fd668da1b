#!/bin/sh
# Everything on this page. The first part needs an accelerator; the rest two cores for half an hour.
set -e
# Collects, trains both latents, compiles beside the training, plans: about ten minutes of a GPU.
# Not run yet: see README.md.
python -m experiments.latent.pipeline --work=runs/latent --train_seconds=320 --plan_seconds=220
for model in pusht_vector pusht_tokens; do
  python -m experiments.latent --checkpoint=runs/latent/models/$model.safetensors --goals=100 \
    --checks=5 --output=runs/latent/results/$model
  python -m experiments.state_gradients --environment=pusht \
    --checkpoint=runs/latent/models/$model.safetensors --output=runs/latent/results/$model
done
# What a goal cost in a latent is worth when the dynamics are good: recorded.
python -m experiments.collect_pusht --output=data/pusht_latent --trajectories=1000
python -m experiments.latent.metric_limit --goals=40 --data=data/pusht_latent \
  --costs=state,patches,patches@temporal,pixels --output=experiments/results/pusht_latent/metric_limit
