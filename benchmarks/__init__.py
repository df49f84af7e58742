"""Benchmarks, each a command: `python -m benchmarks.NAME --help`. README.md has results and how they were measured."""
