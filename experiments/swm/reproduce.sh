#!/usr/bin/env bash
# stable-worldmodel's own evaluation loop; needs that package, in an environment of its own.
# Every command resumes after a kill and leaves alone what is recorded already.
set -euo pipefail
cd "$(dirname "$0")/../.."

# Small random weights: whether all runs.
python -m experiments.swm
