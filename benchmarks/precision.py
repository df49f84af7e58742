"""What bfloat16 does to the reward: rank correlation of episodes' video rewards with those of float32.

Half of the episodes are of random actions, which look much alike; the other half blend the task's expert with random
actions, from none of the expert to all of it. Each is embedded with S3D's activations in float32 and in bfloat16.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
from rcjax.envs.experts import expert_policy, run_policy
from rcjax.render import take_poses
from rcjax.reward import video_similarity
from rcjax.taskspec import embed_clip
from rcjax.types import GeomPoses
from rcjax.world import World, build_world


@dataclasses.dataclass(frozen=True)
class Options:
    """Compare rewards in bfloat16 and float32."""

    task: str = "drawer-close"
    episodes: int = 100
    """Half of random actions, half blended with the expert's."""
    size: int = 250
    """Side of the frames, pixels."""
    micro_batch: int = 2
    """Episodes drawn and embedded together."""
    out: Path | None = None
    """Also write the result here, as JSON."""


def benchmark_config(options: Options) -> TrainConfig:
    config = paper()
    return dataclasses.replace(
        config,
        env=dataclasses.replace(config.env, task=options.task),
        video=dataclasses.replace(config.video, size=options.size, dtype="float32"),
    )


def blended_poses(options: Options, config: TrainConfig, world: World) -> GeomPoses:
    """Poses [N F G] of the kept frames: of random actions, then of more and more of the expert."""
    half, random = options.episodes // 2, np.random.default_rng(0)
    share = np.concatenate([np.zeros(options.episodes - half), np.linspace(0, 1, half)])[:, None]
    expert = expert_policy(world.env.name)

    def policy(obs: np.ndarray) -> np.ndarray:
        noise = random.uniform(-1, 1, (options.episodes, 4))
        return share * expert(obs) + (1 - share) * noise

    rows = (np.arange(options.episodes) % world.train_params.bank_size).tolist()
    poses = run_policy(world.env, world.train_params, policy, rows, config.video.episode_length).poses
    kept = jax.tree.map(lambda x: np.swapaxes(x[:: config.video.frame_stride], 0, 1), poses)
    return take_poses(world.scene, kept)


def rewards(config: TrainConfig, encoder: Any, target: jax.Array, clips: Iterator[jax.Array]) -> dict[str, np.ndarray]:
    """Video rewards [N] of the same clips in either precision."""

    def similarity(params: Any, clips: jax.Array, dtype: str) -> Float[jax.Array, " n"]:
        video = dataclasses.replace(config.video, dtype=dtype)
        return video_similarity(embed_frames(params, clips, video), target)

    similarity_jit = jax.jit(similarity, static_argnums=2)
    rows = [[np.asarray(similarity_jit(encoder.params, some, d)) for d in ("float32", "bfloat16")] for some in clips]
    exact, rounded = (np.concatenate(part) for part in zip(*rows, strict=True))
    return {"float32": exact, "bfloat16": rounded}


def compare(exact: np.ndarray, rounded: np.ndarray) -> dict[str, float]:
    return {
        "episodes": len(exact),
        "spearman": float(spearmanr(exact, rounded).statistic),
        "spread": float(exact.std()),
        "mean_difference": float((rounded - exact).mean()),
        "spread_of_differences": float((rounded - exact).std()),
    }


def measure(options: Options) -> dict[str, Any]:
    config = benchmark_config(options)
    world = build_world(config)
    encoder = calibrated_encoder(config, world)
    clip = expert_clip(world.env, world.train_params, world.scene, config.video)
    target = jnp.asarray(embed_clip(clip, encoder, config.video))
    poses = blended_poses(options, config, world)
    draw = jax.jit(draw_clips)
    starts = range(0, options.episodes, options.micro_batch)
    micro = (jax.tree.map(lambda x, i=i: jnp.asarray(x[i : i + options.micro_batch]), poses) for i in starts)
    both = rewards(config, encoder, target, (draw(world.scene, some) for some in micro))
    random = options.episodes - options.episodes // 2
    groups = {"all": slice(None), "random actions": slice(random), "blended with the expert": slice(random, None)}
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
