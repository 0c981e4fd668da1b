#!/usr/bin/env bash
# Ball navigation: settings, then the recorded table. Minutes.
# Every command resumes after a kill and leaves alone what is recorded already.
set -euo pipefail
cd "$(dirname "$0")/../.."

# Settings, on other starts than the table's.
python -m experiments.ball.tune

# The recorded table and pictures.
python -m experiments.ball --goals=200 --nocompile_fast --output=experiments/results/ball_navigation
