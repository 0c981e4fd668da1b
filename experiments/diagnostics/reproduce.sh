#!/usr/bin/env bash
# What the visual models predict. Minutes.
# Every command resumes after a kill and leaves alone what is recorded already.
set -euo pipefail
cd "$(dirname "$0")/../.."

# The shipped models.
python -m experiments.diagnostics --environment=pusht
python -m experiments.diagnostics --environment=wall --horizon=50
python -m experiments.diagnostics --environment=pointmaze --horizon=50

# Push-T's model from a GPU.
python -m experiments.diagnostics --environment=pusht --checkpoint=pusht_pixels_gpu \
    --output=experiments/results/pusht_pixels_gpu
