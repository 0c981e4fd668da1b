#!/usr/bin/env bash
# Updates per second and planning times of the live page's worlds, without a browser. Minutes.
set -euo pipefail
cd "$(dirname "$0")/../.."

python -m experiments.live.measure --goals=3 \
    --worlds=pusht,pusht_pixels,wall,pointmaze,ball_u_trap,ball_two_rooms
