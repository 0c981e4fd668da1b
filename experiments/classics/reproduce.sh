#!/usr/bin/env bash
# Classical control tasks: the recorded tables and pictures. Minutes, and as long again for each part.
# Every command resumes after a kill and leaves alone what is recorded already.
set -euo pipefail
cd "$(dirname "$0")/../.."

# The table: every planner at its defaults.
python -m experiments.classics --output=experiments/results/classics

# The same planners in the problem's own units.
python -m experiments.classics --scaled --output=experiments/results/classics_scaled

# Other masses, bounds, units and networks.
python -m experiments.classics --held_out --output=experiments/results/classics_held_out

# Direct collocation (needs the extra: pip install -e '.[classics]').
python -m experiments.classics.textbook --output=experiments/results/classics
