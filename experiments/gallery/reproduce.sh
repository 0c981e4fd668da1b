#!/usr/bin/env bash
# The pictures of the method's story, each within a minute on a core.
set -euo pipefail
cd "$(dirname "$0")/../.."

python -m experiments.gallery --picture=all
