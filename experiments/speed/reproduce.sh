#!/usr/bin/env bash
# Times: beside the bare model, PyTorch and other packages.
# Every command resumes after a kill and leaves alone what is recorded already.
set -euo pipefail
cd "$(dirname "$0")/../.."

# On a core.
python -m experiments.speed.newton --output=experiments/results/benchmark
python -m experiments.speed --models=dinowm --planners=GRASP --horizons=16 --goals=1 \
    --time_chunk=1 --loops=1 --repeats=1 --nobare_model --nowhole_plans \
    --output=experiments/results/benchmark_memory
python -m experiments.speed --models=dinowm --planners=GRASP --horizons=16 --goals=1 \
    --time_chunk=1 --loops=1 --repeats=1 --output=experiments/results/benchmark
python -m experiments.speed.sync --seeds=1,2,3 --output=experiments/results/benchmark \
    --rows="GD alone at rate 0.2,20 segments at rate 1,rate 0.2 60 steps every 40,\
rate 0.2 60 steps every 40 in bfloat16"
python -m experiments.speed.sync --seeds=1,2 --output=experiments/results/benchmark \
    --rows="rate 0.2 every 10"
python -m experiments.speed
python -m experiments.speed --planners=GRASP --horizons=8,32,128 --goals=1,16,64 --nowhole_plans \
    --output=experiments/results/benchmark
python -m experiments.speed --models=lewm --planners=GRASP --horizons=8,32,64,128 --goals=1,16 \
    --repeats=3 --nowhole_plans --output=experiments/results/benchmark
python -m experiments.speed --models=lewm --planners=GRASP --horizons=8,32,64 --goals=64 \
    --repeats=3 --loops=1 --nowhole_plans --output=experiments/results/benchmark
python -m experiments.speed --models=lewm --planners=GRASP --horizons=128 --goals=64 --repeats=2 \
    --loops=1 --nowhole_plans --output=experiments/results/benchmark

# Beside textbook PyTorch; needs the interop extra.
python -m experiments.speed --models= --compare=torch --repeats=5 \
    --output=experiments/results/benchmark

# On a GPU.
python -m experiments.speed --models=lewm --horizons=8 --goals=1,16,128,1024 --loops=10 \
    --planners=GRASP --cores=0 --nowhole_plans --output=experiments/results/benchmark_gpu
python -m experiments.speed --models=lewm --horizons=32,60,128 --goals=1 --loops=10 \
    --planners=GRASP --cores=0 --nowhole_plans --output=experiments/results/benchmark_gpu
python -m experiments.speed --models=lewm --horizons=60 --goals=1 --loops=10 --planners=GRASP \
    --cores=0 --output=experiments/results/benchmark_gpu --plan_limit=20
python -m experiments.speed --models=lewm --horizons=32,128 --goals=16 --loops=10 \
    --planners=GRASP --cores=0 --nowhole_plans --output=experiments/results/benchmark_gpu
python -m experiments.speed --models=lewm,lewm:bfloat16 --horizons=32 --goals=128,1024 --loops=4 \
    --planners=GRASP --cores=0 --nowhole_plans --output=experiments/results/benchmark_gpu
python -m experiments.speed --models=lewm --horizons=128 --goals=128 --loops=4 --planners=GRASP \
    --cores=0 --nowhole_plans --output=experiments/results/benchmark_gpu
python -m experiments.speed --models=lewm --horizons=128 --goals=1024 --loops=2 --time_chunk=16 \
    --nobare_model --planners=GRASP --cores=0 --nowhole_plans \
    --output=experiments/results/benchmark_gpu
python -m experiments.speed --models=lewm:bfloat16 --horizons=60 --goals=1 --loops=10 \
    --planners=GRASP --cores=0 --nowhole_plans --output=experiments/results/benchmark_gpu
python -m experiments.speed --models=dinowm --horizons=16 --goals=1 --loops=4 --planners=GRASP \
    --cores=0 --nowhole_plans --output=experiments/results/benchmark_gpu
python -m experiments.speed --models=mlp --horizons=8,32,128 --goals=1,16,128,1024 --loops=100 \
    --planners=GRASP --cores=0 --nowhole_plans --output=experiments/results/benchmark_gpu
python -m experiments.speed --models= --compare=torch --compare_horizons=60 --cores=0 \
    --output=experiments/results/benchmark_gpu
python -m experiments.speed.newton --cores=0 --output=experiments/results/benchmark_gpu

# Beside stable-worldmodel's solvers, in an environment of its own (see experiments/swm).
python -m experiments.speed.swm
python -m experiments.speed.products --output=experiments/results/swm_timings

# Success against depth, segments side by side; real time (alone on its core).
python -m experiments.speed.depth --output=experiments/results/benchmark
python -m experiments.speed.deadline --output=experiments/results/benchmark

# Compiling, beside one gradient of the same model.
python -m experiments.speed.compiling --output=experiments/results/benchmark

# Whole plans at LeWM's size on a GPU, every kind of sync; and its picture.
python -m experiments.speed.gpu --output=experiments/results/benchmark_gpu
python -m experiments.speed.gpu_picture

# The first picture, from records of experiments/pusht.
python -m experiments.speed.overview
