#!/usr/bin/env bash
# Updates per second and planning times of the live page's worlds, without a browser. Minutes.
set -euo pipefail
cd "$(dirname "$0")/../.."

python -m experiments.live.measure --worlds=pusht,wall,ball_u_trap --goals=3
