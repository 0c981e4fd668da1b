#!/usr/bin/env bash
# Classical control tasks: the recorded tables and pictures. Minutes, and as long again for each part.
# Every command resumes after a kill and leaves alone what is recorded already.
set -euo pipefail
cd "$(dirname "$0")/../.."

# The table: every planner at its defaults.
python -m experiments.classics --goals=100 --output=experiments/results/classics \
    --planner=portfolio --planner="restarted GRASP" --planner=GRASP --planner=GD \
    --planner="GD x8" --planner=CEM --planner=iCEM --planner=MPPI --planner=LatCo

# The same planners in the problem's own units.
python -m experiments.classics --goals=100 --output=experiments/results/classics_scaled \
    --planner="restarted GRASP scaled" --planner="GD x8 scaled" --planner="CEM scaled" \
    --planner="iCEM scaled" --planner="MPPI scaled" --planner="LatCo scaled"

# Other masses, bounds, units and networks.
python -m experiments.classics --held_out --goals=100 --planner=portfolio \
    --output=experiments/results/classics_held_out

# A stop rule: with it, the time to success is the time to return.
python -m experiments.classics.stopping --output=experiments/results/classics_stopping

# Samplers with proposals: the cheapest as the start, or all of them among the samples.
python -m experiments.classics.proposals --output=experiments/results/classics_proposals

# Direct collocation (needs the extra: pip install -e '.[classics]').
python -m experiments.classics.textbook --output=experiments/results/classics

# What nobody tuned, on the goals of the tuned tables.
python -m experiments.pusht --observation=state --planners=untuned-GRASP,untuned-portfolio \
    --horizons=40 --goals=500 --nopictures --compile_fast --output=experiments/results/pusht_untuned
python -m experiments.mazes --environment=wall --goals=500 --horizons=50 --nopictures \
    --nocompile_fast --planners=untuned-GRASP,untuned-portfolio \
    --output=experiments/results/wall_pixels_untuned
python -m experiments.mazes --environment=pointmaze --goals=500 --horizons=50 --nopictures \
    --nocompile_fast --planners=untuned-GRASP,untuned-portfolio \
    --output=experiments/results/pointmaze_pixels_untuned
python -m experiments.pusht --observation=pixels --goals=500 --horizons=60 --nopictures \
    --nocompile_fast --planners=untuned-GRASP,untuned-portfolio \
    --output=experiments/results/pusht_pixels_untuned
