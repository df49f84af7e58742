"""The training data: drawn episodes of every task with their outcome, one file a task and round."""

import dataclasses
import zlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, UInt8

from experiments.small_encoder import kitchen, metaworld
from experiments.small_encoder.behaviours import Behaviours, draw_kinds
from rcjax import envs
from rcjax.config import VideoConfig
from rcjax.envs.experts import Policy, PolicyRun, run_policy
from rcjax.envs.kitchen.env import KitchenEnv
from rcjax.envs.mjx_env import EnvParams, MjxEnv
from rcjax.files import write_arrays
from rcjax.render import Scene, WarpScene, render_frames, take_poses
from rcjax.types import GeomPoses
from rcjax.world import task_scene

VIDEO = VideoConfig(size=64, frame_stride=8)
"""The clips that the encoder takes: 16 frames of 64x64 from an episode of 128 control steps"""

TRAIN_SEEDS = range(256)  # of the starts of episodes to train on: those of a run's training bank
VALIDATION_SEEDS = range(500, 532)  # a run's evaluation starts, 1000 and on, are never used here
LONG_EPISODE = 256  # control steps of an episode shown in fast motion, where the expert needs more than 128
FRAMES_AT_A_TIME = 8  # episodes that are drawn together


@dataclasses.dataclass(frozen=True)
class Clips:
    """Episodes as clips, with their outcome in the simulator.

    `success` is whether the task was solved at any step, and `progress` how far the episode came, see `progress`.
    """

    frames: UInt8[np.ndarray, "n F H W 3"]
    success: Bool[np.ndarray, " n"]
    progress: Float[np.ndarray, " n"]
    kinds: np.ndarray  # names of the behaviours

    def save(self, path: Path) -> None:
        arrays = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        write_arrays(path, arrays, compress=False)

    @classmethod
    def load(cls, path: Path) -> "Clips":
        with np.load(path, allow_pickle=False) as stored:
            return cls(**{field.name: stored[field.name] for field in dataclasses.fields(cls)})

    def take(self, rows: np.ndarray) -> "Clips":
        return Clips(**{field.name: getattr(self, field.name)[rows] for field in dataclasses.fields(self)})

    @classmethod
    def concatenate(cls, parts: Sequence["Clips"]) -> "Clips":
        names = [field.name for field in dataclasses.fields(cls)]
        return cls(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


@dataclasses.dataclass(frozen=True)
class TaskWorld:
    """A task's environment with a bank of starts, and its scene."""

    env: MjxEnv
    params: EnvParams
    scene: Scene | WarpScene

    @classmethod
    def build(cls, task: str, seeds: range) -> "TaskWorld":
        env, params = envs.make(task, seeds=seeds, max_steps=LONG_EPISODE, goal_hidden=False, backend="c")
        return cls(env, params, task_scene(env, VIDEO))

    def run(self, policy: Policy, start: np.ndarray, steps: int) -> PolicyRun:
        """Runs the policy from these starts of the bank, by C MuJoCo's physics."""
        return run_policy(self.env, self.params, policy, start.tolist(), steps)

    @property
    def family(self) -> ModuleType:
        """The module of the task's scenes: their motions, how far episodes come, and what policies do not see."""
        return kitchen if isinstance(self.env, KitchenEnv) else metaworld

    def behaviours(self, kinds: np.ndarray, random: np.random.Generator) -> Behaviours:
        """Returns the policy that acts in episode i as kinds[i] says."""
        return Behaviours(kinds, random, self.env.num_actions, partial(self.family.make_motions, self.env))

    def draw(self, poses: GeomPoses) -> UInt8[np.ndarray, "n F H W 3"]:
        """Draws episodes, given the poses [T N G ...] of every geom after every step."""
        stride = poses.pos.shape[0] // VIDEO.n_frames
        kept = jax.tree.map(lambda x: jnp.asarray(np.swapaxes(x[::stride], 0, 1)), poses)
        kept = take_poses(self.scene, kept)
        n = len(kept.pos)
        padding = -n % FRAMES_AT_A_TIME  # so that one program draws all of them
        kept = jax.tree.map(lambda x: jnp.concatenate([x, x[:padding]]) if padding else x, kept)
        parts = [
            np.asarray(_draw(self.scene, jax.tree.map(lambda x, i=i: x[i : i + FRAMES_AT_A_TIME], kept)))
            for i in range(0, n, FRAMES_AT_A_TIME)
        ]
        return np.concatenate(parts)[:n]

    def with_outcome(self, frames: UInt8[np.ndarray, "n F H W 3"], run: PolicyRun, kinds: np.ndarray) -> Clips:
        """Returns the drawn episodes of a run with their outcome."""
        success = np.asarray(np.any(run.success, axis=0))
        progress = self.family.progress_of(self.env, run, success)
        return Clips(frames=frames, success=success, progress=progress, kinds=kinds)


_draw = jax.jit(render_frames)


def make_clips(world: TaskWorld, n: int, seed: int) -> Clips:
    """Returns clips of `n` episodes of the scripted behaviours, from random starts of the world's bank.

    If the expert succeeds in fewer than half of its episodes, all episodes are longer and shown in fast motion.
    """
    key = [seed, zlib.crc32(world.env.name.encode())]
    random = np.random.default_rng(key)
    kinds = draw_kinds(n, random, has_sibling=world.family.has_sibling(world.env))
    start = random.integers(0, world.params.bank_size, n)
    for steps in (VIDEO.episode_length, LONG_EPISODE):
        run = world.run(world.behaviours(kinds, np.random.default_rng([*key, steps])), start, steps)
        if np.any(run.success, axis=0)[kinds == "expert"].mean() >= 0.5:
            break
    return world.with_outcome(world.draw(run.poses), run, kinds)
