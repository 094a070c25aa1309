"""What the callbacks cost, as ratios of times or memory that were measured side by side in one process.

python -m benchmarks.costs [--factor 1] [--output FOLDER]
"""
