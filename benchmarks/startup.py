"""Times the start of a run, from the call of `rcjax train` to the metrics of its first iteration, cold and then warm.

Cold means that no demonstration, decimated mesh or compiled program is cached, as on a new machine. Warm means that the
same command is run a second time. The lines that the command prints end the phases. The run is stopped after its first
iteration.
"""

import contextlib
import dataclasses
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import IO

import tyro

from benchmarks import report

# The start of the printed line that ends each phase. If a run does not print it, the phase is part of the next one.
PHASES = {
    "imports, bundled encoder": "The encoder small",
    "environment, scene, target, run folder": "Compiling (",
    "compilation": "Compiled in",
}
FIRST_ITERATION = "first iteration"
Starts = dict[str, list[dict[str, float]]]
"""The seconds of each phase of every start, cold and warm."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Time the start of a run."""

    arguments: tuple[str, ...] = ()
    """Arguments of `rcjax train`; by default there are none, as in the README."""
    repeats: int = 1
    """Number of cold starts, and of warm starts."""
    out: Path | None = None
    """Also write the result to this JSON file."""


def start_once(arguments: tuple[str, ...], folder: Path, cache: Path) -> dict[str, float]:
    """Starts a run with this cache folder, kills it after its first iteration, and returns each phase's seconds."""
    environment = os.environ | {"RCJAX_CACHE": str(cache), "PYTHONUNBUFFERED": "1"}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    command = [sys.executable, "-m", "rcjax.cli", "train", "--runs", str(folder), *arguments]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)
    assert process.stdout is not None
    try:
        ends = _phase_ends(process.stdout, process, folder)
    finally:
        process.kill()
        process.wait()
    times = [start, *ends.values()]
    return {name: end - start for name, start, end in zip(ends, times, times[1:], strict=False)}


def _phase_ends(stdout: IO[str], process: subprocess.Popen, folder: Path) -> dict[str, float]:
    """Returns the time at which each phase ended. Raises SystemExit if the run ends before its first iteration does."""
    lines: queue.Queue[tuple[float, str]] = queue.Queue()
    threading.Thread(target=lambda: [lines.put((time.perf_counter(), line)) for line in stdout], daemon=True).start()
    ends: dict[str, float] = {}
    while process.poll() is None:
        with contextlib.suppress(queue.Empty):
            at, line = lines.get(timeout=0.02)
            ends |= {name: at for name, beginning in PHASES.items() if line.startswith(beginning)}
        if any(path.stat().st_size for path in folder.glob("*/metrics.jsonl")):
            return ends | {FIRST_ITERATION: time.perf_counter()}
    raise SystemExit(f"benchmarks.startup: the run ended with exit code {process.returncode} before its first update.")


def measure(options: Options) -> Starts:
    """Starts a run cold and then warm, `repeats` times."""
    rows: Starts = {"cold": [], "warm": []}
    for _ in range(options.repeats):
        with tempfile.TemporaryDirectory() as folder:
            for state, starts in rows.items():
                starts.append(start_once(options.arguments, Path(folder, state), Path(folder, "cache")))
    return rows


def table(rows: Starts) -> str:
    """Returns the seconds of the fastest start as a Markdown table."""
    best = {state: min(starts, key=lambda phases: sum(phases.values())) for state, starts in rows.items()}
    lines = ["| | " + " | ".join(best) + " |", "| --- | --- | --- |"]
    for phase in best["cold"]:
        lines.append(f"| {phase} | " + " | ".join(f"{phases.get(phase, 0):.1f}" for phases in best.values()) + " |")
    totals = [sum(phases.values()) for phases in best.values()]
    return "\n".join([*lines, "| to the first update | " + " | ".join(f"{total:.1f}" for total in totals) + " |"])


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    rows = measure(options)
    print(table(rows))
    report.save_run(options, starts_s=rows)


if __name__ == "__main__":
    main()
