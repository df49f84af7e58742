"""Time to the first update: from `rcjax train` typed to the first iteration's metrics, cold and then warm.

Cold: no demonstration, decimated mesh or compiled program is cached, as on a new machine. Warm: the same command once
more. Phases end with the lines that the command prints. The run is stopped after its first iteration.
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
from typing import IO, Any

import tyro

from benchmarks import report

PHASES = {  # the beginning of the line that ends it
    "imports, environment, scene": "Recording an episode",
    "demonstration": "No converted S3D weights",
    "encoder, target, run folder": "Compiling (",
    "compilation": "Compiled in",
}
FIRST_ITERATION = "first iteration"


@dataclasses.dataclass(frozen=True)
class Options:
    """Time the start of a run."""

    arguments: tuple[str, ...] = ()
    """Arguments of `rcjax train`; none: what the README's command runs."""
    repeats: int = 1
    """Cold and warm starts each."""
    out: Path | None = None
    """Also write the result here, as JSON."""


def start_once(arguments: tuple[str, ...], folder: Path, cache: Path) -> dict[str, float]:
    """Seconds of each phase of one start, with what `cache` holds. The process is killed after its first iteration."""
    environment = os.environ | {"RCJAX_CACHE": str(cache), "PYTHONUNBUFFERED": "1"}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    command = [sys.executable, "-m", "rcjax.cli", "train", "--runs", str(folder), *arguments]
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)
    assert process.stdout is not None
    try:
        ends = _phase_ends(process.stdout, process, folder)
    finally:
        process.kill()
        process.wait()
    times = [begun, *ends.values()]
    return {name: end - start for name, start, end in zip(ends, times, times[1:], strict=False)}


def _phase_ends(stdout: IO[str], process: subprocess.Popen, folder: Path) -> dict[str, float]:
    """When each phase ended. Raises SystemExit if the run ends before its first iteration does."""
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


def measure(options: Options) -> dict[str, list[dict[str, float]]]:
    rows: dict[str, list[dict[str, float]]] = {"cold": [], "warm": []}
    for _ in range(options.repeats):
        with tempfile.TemporaryDirectory() as folder:
            for state, starts in rows.items():
                starts.append(start_once(options.arguments, Path(folder, state), Path(folder, "cache")))
    return rows


def table(rows: dict[str, list[dict[str, float]]]) -> str:
    """Seconds; of several starts, the quickest."""
    best = {state: min(starts, key=lambda phases: sum(phases.values())) for state, starts in rows.items()}
    lines = ["| | " + " | ".join(best) + " |", "| --- | --- | --- |"]
    for phase in best["cold"]:
        lines.append(f"| {phase} | " + " | ".join(f"{phases.get(phase, 0):.1f}" for phases in best.values()) + " |")
    totals = [sum(phases.values()) for phases in best.values()]
    return "\n".join([*lines, "| to the first update | " + " | ".join(f"{total:.1f}" for total in totals) + " |"])


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    rows: Any = measure(options)
    print(table(rows))
    report.save_run(options, starts_s=rows)


if __name__ == "__main__":
    main()
