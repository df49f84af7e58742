"""Measurements, each a command: `python -m benchmarks.NAME --help`. Results and how they were taken: README.md."""
