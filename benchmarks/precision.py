"""The effect of bfloat16 on the reward: the rank correlation of episodes' video rewards with those in float32.

Half of the episodes have random actions and look much alike. The other half blend the actions of the task's expert with
random ones, from only random to only the expert's. Each episode is embedded with S3D's activations in float32 and in
bfloat16.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jaxtyping import Float
from scipy.stats import spearmanr

from benchmarks import report
from rcjax.calibration import calibrated_encoder
from rcjax.config import TrainConfig, paper
from rcjax.demonstration import expert_clip
from rcjax.embedding import draw_clips, embed_frames
from rcjax.encoders import Encoder, Params
from rcjax.envs.experts import expert_policy, run_policy
from rcjax.render import take_poses
from rcjax.rewards.video import video_similarity
from rcjax.taskspec import embed_clip
from rcjax.types import GeomPoses
from rcjax.world import World, build_world


@dataclasses.dataclass(frozen=True)
class Options:
    """Compare rewards in bfloat16 and float32."""

    task: str = "drawer-close"
    """Metaworld task of the episodes."""
    episodes: int = 100
    """Number of episodes, of which half have random actions, and half have actions blended with the expert's."""
    size: int = 250
    """Side of the square frames, in pixels."""
    micro_batch: int = 2
    """Number of episodes that are drawn and embedded at a time; it has to divide the number of episodes."""
    out: Path | None = None
    """Also write the result to this JSON file."""


def benchmark_config(options: Options) -> TrainConfig:
    config = paper()
    return dataclasses.replace(
        config,
        env=dataclasses.replace(config.env, task=options.task),
        video=dataclasses.replace(config.video, size=options.size, dtype="float32"),
    )


def blended_poses(options: Options, config: TrainConfig, world: World) -> GeomPoses:
    """Returns the poses [N F G] of the kept frames: first of random actions, then with more and more of the expert."""
    half, rng = options.episodes // 2, np.random.default_rng(0)
    share = np.concatenate([np.zeros(options.episodes - half), np.linspace(0, 1, half)])[:, None]
    expert = expert_policy(world.env.name)

    def policy(obs: np.ndarray) -> np.ndarray:
        noise = rng.uniform(-1, 1, (options.episodes, 4))
        return share * expert(obs) + (1 - share) * noise

    rows = (np.arange(options.episodes) % world.train_params.bank_size).tolist()
    poses = run_policy(world.env, world.train_params, policy, rows, config.video.episode_length).poses
    kept = jax.tree.map(lambda x: np.swapaxes(x[:: config.video.frame_stride], 0, 1), poses)
    return take_poses(world.scene, kept)


def rewards(
    config: TrainConfig, encoder: Encoder, target: jax.Array, clips: Iterator[jax.Array]
) -> dict[str, np.ndarray]:
    """Returns the video rewards [N] of the same clips in both data types."""

    def similarity(params: Params, clips: jax.Array, dtype: Literal["float32", "bfloat16"]) -> Float[jax.Array, " n"]:
        video = dataclasses.replace(config.video, dtype=dtype)
        return video_similarity(embed_frames(encoder.network, params, clips, video), target)

    similarity_jit = jax.jit(similarity, static_argnums=2)
    dtypes = ("float32", "bfloat16")
    rows = [[np.asarray(similarity_jit(encoder.params, batch, dtype)) for dtype in dtypes] for batch in clips]
    exact, rounded = (np.concatenate(part) for part in zip(*rows, strict=True))
    return {"float32": exact, "bfloat16": rounded}


def compare(exact: np.ndarray, rounded: np.ndarray) -> dict[str, float]:
    """Returns the statistics of the rewards in float32 and in bfloat16."""
    correlation: Any = spearmanr(exact, rounded)  # SciPy does not annotate the result
    return {
        "episodes": len(exact),
        "spearman": float(correlation.statistic),
        "spread": float(exact.std()),
        "mean_difference": float((rounded - exact).mean()),
        "spread_of_differences": float((rounded - exact).std()),
    }


def measure(options: Options) -> dict[str, Any]:
    """Returns the statistics of each group of episodes, and all rewards."""
    config = benchmark_config(options)
    world = build_world(config)
    encoder = calibrated_encoder(config, world)
    clip = expert_clip(world.env, world.train_params, world.scene, config.video)
    target = jnp.asarray(embed_clip(clip, encoder, config.video))
    poses = blended_poses(options, config, world)
    draw = jax.jit(draw_clips, static_argnums=(2, 3))
    starts = range(0, options.episodes, options.micro_batch)
    batches = (jax.tree.map(lambda x, i=i: jnp.asarray(x[i : i + options.micro_batch]), poses) for i in starts)
    both = rewards(
        config, encoder, target, (draw(world.scene, batch, encoder.network, config.video.graph) for batch in batches)
    )
    n_random = options.episodes - options.episodes // 2
    groups = {"all": slice(None), "random actions": slice(n_random), "blended with the expert": slice(n_random, None)}
    rows = {name: compare(both["float32"][part], both["bfloat16"][part]) for name, part in groups.items()}
    return {"groups": rows, "rewards": {name: x.tolist() for name, x in both.items()}}


def table(groups: dict[str, dict[str, float]]) -> str:
    lines = [
        "| episodes | | rank correlation | spread of rewards | mean difference | spread of differences |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, row in groups.items():
        lines.append(
            f"| {row['episodes']} | {name} | {row['spearman']:.4f} | {row['spread']:.4f} "
            f"| {row['mean_difference']:+.4f} | {row['spread_of_differences']:.4f} |"
        )
    return "\n".join(lines)


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    if options.episodes % options.micro_batch:
        raise SystemExit(f"--micro-batch {options.micro_batch} does not divide --episodes {options.episodes}.")
    result = measure(options)
    print(table(result["groups"]))
    report.save_run(options, **result)


if __name__ == "__main__":
    main()
