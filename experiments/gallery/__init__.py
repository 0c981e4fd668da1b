"""Pictures of why planning through a world model is hard over long horizons, and what lifting does.

python -m experiments.gallery --picture=landscape
"""
