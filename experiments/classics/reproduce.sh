#!/usr/bin/env bash
# Classical control tasks: the recorded table and picture. Minutes.
# The command resumes after a kill and leaves alone what is recorded already.
set -euo pipefail
cd "$(dirname "$0")/../.."

python -m experiments.classics --goals=100 --output=experiments/results/classics
