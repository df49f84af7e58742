"""`python -m experiments.small_encoder` makes the bundled encoder: its data, its weights and its evaluation."""

import os
import sys

# Two devices share a batch, as most of XLA's operations use one core of a CPU. JAX reads this when it is imported.
os.environ.setdefault("JAX_NUM_CPU_DEVICES", str(min(2, os.cpu_count() or 1)))

from experiments.entry import run
from experiments.small_encoder.command import Command, main

if __name__ == "__main__":
    sys.exit(run("small_encoder", Command, main, __doc__))
