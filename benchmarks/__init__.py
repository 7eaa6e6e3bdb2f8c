"""What the program costs, measured the same way every time: `python -m benchmarks.judge`."""
