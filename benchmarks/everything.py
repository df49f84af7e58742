"""Runs the benchmarks of speed and of bfloat16 one after the other, and writes their results to one folder.

Each benchmark runs in a process of its own, and writes a log and a JSON file. If one fails or takes too long, the
others still run. On a GPU they have the paper's size; on a CPU they have sizes that two cores finish in about half an
hour.
"""

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import tyro

# The arguments of `python -m benchmarks.` on a CPU and on a GPU, the most important benchmark first.
COMMANDS: dict[str, tuple[str, str]] = {
    "loop": ("loop --n-envs 16 --size 250 --repeats 3", "loop --n-envs 2048 --size 250"),
    "embed": ("embed --batches 1 4 --repeats 3", "embed --batches 1 16 --no-rewrites"),
    "roofline": ("roofline --n-envs 16", "roofline --n-envs 2048"),
    "physics": (
        "physics --tasks drawer-close --batches 16 128 --repeats 2",
        "physics --tasks drawer-close door-open --backends jax warp --batches 1024 4096",
    ),
    "render": ("render --sizes 64 250 --batches 1 32 128 --repeats 3", "render --budget-s 330"),
    "seeds": ("seeds --repeats 5", "seeds --n-envs 64 --size 250 --frame-stride 4"),
    "micro_batch": ("micro_batch", "micro_batch --episodes 128 --micro-batches 4 8 16 32 64"),
    "race": ("race --n-envs 16 --iterations 2", "race --n-envs 2048 --reference-iterations 3"),
    "startup": ("startup", "startup"),
    "precision": ("precision", "precision --micro-batch 10"),
}


@dataclasses.dataclass(frozen=True)
class Options:
    """Run the benchmarks."""

    out_dir: Path
    """Folder to write NAME.json and NAME.log of each benchmark to."""
    only: tuple[str, ...] = tuple(COMMANDS)
    """Names of the benchmarks to run, in this order."""
    limit_s: float = 540.0
    """Time limit of each benchmark, in seconds."""


def device() -> tuple[str, str]:
    """Returns the platform and name of the device. Another process looks them up, so that no GPU memory is taken."""
    code = "import jax; print(jax.default_backend(), jax.devices()[0].device_kind)"
    output = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True).stdout
    platform, name = output.split(maxsplit=1)
    return platform, name.strip()


def run_one(name: str, platform: str, options: Options) -> str:
    """Runs one benchmark, and returns its outcome in words."""
    program, *arguments = COMMANDS[name][platform != "cpu"].split()
    out = options.out_dir / name
    command = [sys.executable, "-m", f"benchmarks.{program}", *arguments, "--out", str(out.with_suffix(".json"))]
    environment = {"MUJOCO_GL": "osmesa" if platform == "cpu" else "egl"} | os.environ
    start = time.perf_counter()
    with out.with_suffix(".log").open("w") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )
        try:
            code = process.wait(options.limit_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # with the processes that it started
            process.wait()
            return f"stopped after {options.limit_s:.0f} s"
    seconds = f"{time.perf_counter() - start:.0f} s"
    return f"done in {seconds}" if code == 0 else f"failed after {seconds} with exit code {code}, see its log"


def main() -> int:
    options = tyro.cli(Options, description=__doc__)
    unknown = [name for name in options.only if name not in COMMANDS]
    if unknown:
        known = ", ".join(COMMANDS)
        print(f"benchmarks.everything: error: unknown {', '.join(unknown)}; there are {known}.", file=sys.stderr)
        return 2
    options.out_dir.mkdir(parents=True, exist_ok=True)
    platform, kind = device()
    print(f"{kind} ({platform}), into {options.out_dir}", flush=True)
    outcomes = {}
    for name in options.only:
        outcomes[name] = run_one(name, platform, options)
        print(f"{name}: {outcomes[name]}", flush=True)
    return 0 if all(outcome.startswith("done") for outcome in outcomes.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
