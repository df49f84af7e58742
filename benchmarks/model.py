"""A model of an iteration's time on accelerators: what their compilers estimate, and what was timed in parts.

    python -m benchmarks.model

An iteration of N environments on one device takes `fixed + N * each` seconds. Of a TPU, both follow from the compiler's
cycles for the whole iteration (`benchmarks.aot`) with few and with many environments, and the shares of drawing and
S3D from `benchmarks.estimate`. Of a GPU, the parts were timed. The clips are the paper's: 32 frames of 250x250 of 128
control steps. Nothing is compiled or timed here.
"""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from benchmarks.report import save

RESULTS = Path(__file__).parent / "results"
STEPS = 128  # control steps of an episode
KERNEL_CYCLES = 35.5e6 / 16  # an episode, of the Pallas kernel that draws tiles: counted from its schedule for a v5e


@dataclasses.dataclass(frozen=True)
class Line:
    """Seconds as a function of the number of environments: linear between and beyond the points."""

    n_envs: tuple[float, ...]
    seconds: tuple[float, ...]

    def __call__(self, n: float) -> float:
        if n <= self.n_envs[-1]:
            return float(np.interp(n, self.n_envs, self.seconds))
        (before, last), (shorter, longer) = self.n_envs[-2:], self.seconds[-2:]
        return longer + (n - last) * (longer - shorter) / (last - before)


@dataclasses.dataclass(frozen=True)
class Device:
    """What an iteration takes on a device: seconds an episode for what is done by micro-batches, and all the rest."""

    name: str
    drawing: float
    s3d: float
    rest: Line  # physics, policy, update, metrics

    def iteration(self, n_envs: int) -> dict[str, Any]:
        """Returns the time of an iteration of so many environments, what it is spent on, and the rates."""
        parts = {"physics and update": self.rest(n_envs), "drawing": n_envs * self.drawing, "S3D": n_envs * self.s3d}
        seconds = sum(parts.values())
        return {
            "device": self.name,
            "n_envs": n_envs,
            "seconds": seconds,
            "env_steps_per_s": STEPS * n_envs / seconds,
            "rewards_per_s": n_envs / seconds,
            "shares": {name: part / seconds for name, part in parts.items()},
        }


def rest_cycles(file: str, both: float) -> tuple[float, float]:
    """Returns the number of environments on a device, and the cycles of an iteration without drawing and S3D.

    Args:
        file: Name of a result of `benchmarks.aot`.
        both: Cycles of drawing and embedding a micro-batch of 16 episodes in one program.
    """
    result = json.loads((RESULTS / f"{file}.json").read_text())
    n_envs = result["options"]["seeds"] * result["options"]["n_envs"] / result["devices"]
    return n_envs, result["estimated_cycles"] - n_envs * both / 16


def tpu(name: str, clock_hz: float, rest: tuple[tuple[float, float], ...], drawing: float, both: float) -> Device:
    """Returns the model of a TPU.

    Args:
        name: The TPU's name.
        clock_hz: Its clock.
        rest: Numbers of environments, increasing, and the cycles of an iteration without drawing and S3D.
        drawing: Cycles of drawing a micro-batch of 16 episodes, without the kernel for tiles.
        both: Cycles of drawing and embedding them in one program, likewise.
    """
    n_envs, cycles = zip(*rest, strict=True)
    draw_s, embed_s = (drawing / 16 + KERNEL_CYCLES) / clock_hz, (both - drawing) / 16 / clock_hz
    return Device(name, draw_s, embed_s, Line(n_envs, tuple(c / clock_hz for c in cycles)))


def tpus() -> list[Device]:
    """Returns the models of a v5e and of one core of a v4.

    Of the v4, the iteration is known for few environments only, so that its cycles are taken to grow with their number
    as those of the v5e do.
    """
    drawing, both = stages("estimate_v5e_250")
    few, many = rest_cycles("aot_v5e_2x4_250", both), rest_cycles("aot_v5e_2x4_65536", both)
    v5e = tpu("TPU v5e", V5E_HZ, (few, many), drawing, both)
    drawing, both = stages("estimate_v4_250")
    n_envs, cycles = rest_cycles("aot_v4_2x2x1_250", both)
    grown = cycles + (many[1] - few[1]) * (many[0] - n_envs) / (many[0] - few[0])
    v4 = tpu("TPU v4, one of its two cores", V4_HZ, ((n_envs, cycles), (many[0], grown)), drawing, both)
    return [v5e, v4]


V5E_HZ, V4_HZ = 1.5e9, 1.05e9  # from the published peaks, 197 and 275 TFLOP/s, of four and eight units of 128x128


# An NVIDIA H200's parts, timed in programs of their own: a rollout by MJX on JAX, an update of 2,048 environments, and
# micro-batches of 32 episodes (benchmarks/README.md, "Physics", "The renderer's speed" and "S3D beside PyTorch").
H200_ROLLOUT = Line((1024, 2048, 4096), (0.697, 0.833, 0.989))
H200_UPDATE = 0.03 / 2048
H200_DRAWING, H200_S3D = 6.0e-3 / 32, 14.5e-3 / 32
H200_BANDWIDTH, H100_BANDWIDTH = 4.8, 3.35  # TB/s; the two compute equally fast


def gpu(name: str, slower: float) -> Device:
    """Returns the model of a GPU whose micro-batches take `slower` times as long as an H200's."""
    n_envs = H200_ROLLOUT.n_envs
    rest = Line(n_envs, tuple(H200_ROLLOUT(n) + n * H200_UPDATE for n in n_envs))
    return Device(name, H200_DRAWING * slower, H200_S3D * slower, rest)


def devices() -> list[Device]:
    """Returns all models. An H100 is an H200 if nothing waits for memory, and at worst slower by its bandwidth."""
    return [*tpus(), gpu("NVIDIA H200", 1.0), gpu("NVIDIA H100, at worst", H200_BANDWIDTH / H100_BANDWIDTH)]


def stages(file: str) -> tuple[float, float]:
    """Returns the cycles of drawing, and of drawing and S3D in one program, from a result of `benchmarks.estimate`."""
    rows = json.loads((RESULTS / f"{file}.json").read_text())["stages"]
    cycles = {row["stage"].split(",")[0]: row["cycles"] for row in rows if row["stage"].endswith("4x4")}
    return cycles["rendering"], cycles["rendering and S3D in one program"]


@dataclasses.dataclass(frozen=True)
class Options:
    """Print the time of an iteration and the rates that the model gives, as a Markdown table."""

    n_envs: tuple[int, ...] = (1024, 4096, 16384, 65536)
    """Numbers of environments on a device."""
    out: Path | None = None
    """Also write the result to this JSON file."""


def main() -> int:
    options = tyro.cli(Options, description=__doc__)
    rows = [device.iteration(n) for device in devices() for n in options.n_envs]
    print("| device | environments | iteration s | env steps/s | video rewards/s | physics and update, drawing, S3D |")
    print("| --- | --- | --- | --- | --- | --- |")
    for row in rows:
        shares = ", ".join(f"{share:.0%}" for share in row["shares"].values())
        print(f"| {row['device']} | {row['n_envs']:,} | {row['seconds']:.3g} | {row['env_steps_per_s']:,.0f} | "
              f"{row['rewards_per_s']:,.0f} | {shares} |")  # fmt: skip
    save(rows, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
