"""Texts for the user of a run: the work ahead, the result, and the title of the plot."""

from pathlib import Path

from rcjax.config import TrainConfig
from rcjax.encoders import NAMED, RANDOM
from rcjax.program import Program, Rows
from rcjax.statistics import interquartile_mean_row
from rcjax.storage import RunFolder


def describe_work(program: Program) -> str:
    """Returns how much is stepped, drawn and embedded at a time, and on which devices."""
    config, layout = program.config, program.layout
    seeds = f"{config.seeds} seeds x " if config.seeds > 1 else ""
    devices = "device" if layout.n_devices == 1 else "devices"
    size = config.video.size
    return (
        f"{seeds}{config.n_envs} environments, {size}x{size} frames, {program.micro_batch} episodes at a time, "
        f"on {layout.n_devices} {layout.mesh.devices.flat[0].device_kind} {devices}"
    )


def describe_result(run: RunFolder, rows: Rows) -> str:
    """Returns the final evaluation's numbers, of which each seed has one row, and what the run's folder holds."""
    row, seeds = interquartile_mean_row(rows), run.config.seeds
    whose = "" if seeds == 1 else f" of each of {seeds} seeds (interquartile means)"
    return (
        f"Success rate {row['eval_success_rate']:.0%}, true return {row['eval_true_return']:.1f}, video reward "
        f"{row['eval_video_reward']:.4g} over {run.config.n_envs} episodes of the policy's mean{whose}.\n"
        f"Written to {run.path}: metrics.jsonl, curve.png, policy.mp4, checkpoints."
    )


def plot_title(config: TrainConfig) -> str:
    """Returns the task, its demonstration, the encoder and the seeds, in one line."""
    demonstration = config.spec.text or f"video {Path(config.spec.video or '').name}"
    name = config.encoder or RANDOM  # configs of earlier versions say None for a random encoder
    encoder = f"encoder {name}" if name in NAMED else "converted weights"
    return f"{config.env.task} from “{demonstration}”, {encoder}, {config.seeds_text}"
