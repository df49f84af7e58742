"""Times RoboCLIP's original pipeline, a generous version of it, and ours, one after the other on one machine.

Task, S3D weights, frames (32 of 250x250 out of 128 steps) and PPO are the same, with the numbers of the `release`
preset; only ours has as many environments as suit the machine (`--n-envs`). Each contestant runs in its own process and
is timed over whole iterations of training, after one that is not counted. Needs the extra `parity` and OpenGL:
MUJOCO_GL=osmesa python -m benchmarks.race
"""

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro

from benchmarks import report
from benchmarks.energy import EnergyMeter
from rcjax import config as configs

Contestant = Literal["original", "generous", "ours"]


@dataclasses.dataclass(frozen=True)
class Options:
    """Run the race."""

    contestants: tuple[Contestant, ...] = ("original", "generous", "ours")
    """The pipelines to time."""
    task: str = "drawer-close"
    """Name of the task."""
    n_envs: int = 16
    """Number of environments of our pipeline; the reference has 8, as the release."""
    reference_iterations: int = 1
    """Number of timed iterations of the reference, of 8 episodes each."""
    iterations: int = 3
    """Number of timed iterations of our pipeline."""
    out: Path | None = None
    """Also write the result to this JSON file."""
    alone: tuple[Contestant, Path] | None = None
    """Used by the processes that the race starts: the contestant, and the folder with weights and target."""


def race_config(options: Options, n_envs: int) -> configs.TrainConfig:
    config = configs.paper()
    return dataclasses.replace(
        config,
        n_envs=n_envs,
        total_env_steps=max(config.total_env_steps, n_envs * config.video.episode_length),
        env=dataclasses.replace(config.env, task=options.task),
        ppo=dataclasses.replace(config.ppo, batch_size=n_envs * config.video.episode_length),
    )


def make_weights(folder: Path) -> None:
    """Writes the weights of one S3D for all contestants, with PyTorch's random initialisation, and a random target."""
    import torch

    from benchmarks.torch_s3d import S3D

    torch.manual_seed(0)
    torch.save(S3D().state_dict(), folder / "s3d.pt")
    np.save(folder / "target.npy", np.random.default_rng(0).standard_normal(512).astype(np.float32))


def run_reference(options: Options, variant: Literal["original", "generous"], folder: Path) -> dict[str, Any]:
    from benchmarks import reference

    target = np.load(folder / "target.npy")
    setup = reference.Setup(race_config(options, 8), folder / "s3d.pt", target)
    return reference.run(setup, variant, options.reference_iterations)


def run_ours(options: Options, folder: Path) -> dict[str, Any]:
    import torch

    from rcjax.encoders import Encoder
    from rcjax.encoders.s3d import S3D, params_from_torch
    from rcjax.program import Program, as_rows
    from rcjax.world import build_world

    state = {name: x.numpy() for name, x in torch.load(folder / "s3d.pt", weights_only=True).items()}
    encoder = Encoder(S3D(), params_from_torch(state), None, "random")
    config = race_config(options, options.n_envs)
    program = Program(config, build_world(config), encoder, np.load(folder / "target.npy")[None])
    state, metrics, _ = program.step(program.initial_state())
    as_rows(metrics)
    with EnergyMeter() as meter:
        started = time.perf_counter()
        for _ in range(options.iterations):
            state, metrics, _ = program.step(state)
        as_rows(metrics)
        seconds = time.perf_counter() - started
    return {
        "seconds": seconds, "episodes": options.iterations * config.n_envs, "n_envs": config.n_envs,
        "micro_batch": program.micro_batch, "joules": meter.joules, "energy_from": meter.source,
    }  # fmt: skip


def run_alone(options: Options) -> dict[str, Any]:
    assert options.alone is not None
    who, folder = options.alone
    return run_ours(options, folder) if who == "ours" else run_reference(options, who, folder)


def start(options: Options, who: Contestant, folder: Path) -> dict[str, Any]:
    """Runs one contestant in its own process and returns its rates."""
    command = [sys.executable, "-m", "benchmarks.race", "--task", options.task, "--n-envs", str(options.n_envs)]
    command += ["--iterations", str(options.iterations), "--reference-iterations", str(options.reference_iterations)]
    command += ["--alone", who, str(folder)]
    # The reference computes nothing with JAX, but its processes would each take their share of the GPU's memory.
    environment = os.environ | ({} if who == "ours" else {"JAX_PLATFORMS": "cpu"})
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(f"benchmarks.race: {who} failed (exit code {done.returncode}); see above.")
    result = json.loads(done.stdout.splitlines()[-1])
    rate = result["episodes"] / result["seconds"]
    return {"contestant": who, **result, "rewards_per_s": rate, "env_steps_per_s": 128 * rate}


def table(results: list[dict[str, Any]]) -> str:
    lines = [
        "| | environments | env steps/s | video rewards/s | s for 1,000 episodes | J per episode | over the original |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    first = results[0]["rewards_per_s"]
    for row in results:
        joules = "unknown" if row.get("joules") is None else f"{row['joules'] / row['episodes']:.2f}"
        lines.append(
            f"| {row['contestant']} | {row['n_envs']} | {row['env_steps_per_s']:,.1f} | {row['rewards_per_s']:.3f} "
            f"| {1000 / row['rewards_per_s']:,.0f} | {joules} | {row['rewards_per_s'] / first:.1f} |"
        )
    return "\n".join(lines)


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    if options.alone is not None:
        print(json.dumps(run_alone(options)))
        return
    with tempfile.TemporaryDirectory() as folder:
        make_weights(Path(folder))
        results = []
        for who in options.contestants:
            results.append(start(options, who, Path(folder)))
            print(table(results[-1:]).splitlines()[-1], flush=True)
    print("\n" + table(results))
    report.save({"machine": report.machine(), "task": options.task, "contestants": results}, options.out)


if __name__ == "__main__":
    main()
