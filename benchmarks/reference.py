"""The original pipeline as RoboCLIP's users run it, and a generous version of it, for `benchmarks.race`.

The original runs Stable-Baselines3's PPO with each environment in its own process. That process steps the official
Metaworld, draws every step at 640x480 by OpenGL and cuts out the centre. At the end of an episode it takes every fourth
frame and embeds them with its own PyTorch S3D, one clip at a time. Source: github sumedh7/RoboCLIP at 2d3f779.

The generous version only draws the frames that are kept, and embeds the clips of all environments together in the main
process, channels last, on the GPU (in bfloat16) if there is one.

Needs the extra `parity` (torch, stable-baselines3) and OpenGL: set MUJOCO_GL=egl or osmesa.
"""

import dataclasses
import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, cast

import gymnasium
import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import SubprocVecEnv, VecEnv, VecEnvWrapper

from benchmarks.energy import EnergyMeter
from benchmarks.official import make_official
from benchmarks.opengl import OpenGL
from benchmarks.torch_s3d import S3D
from rcjax.config import TrainConfig
from rcjax.render import View

Variant = Literal["original", "generous"]


@dataclasses.dataclass(frozen=True)
class Setup:
    """What both versions run. `weights` is a file with S3D's state dict, `target` the target embedding [512]."""

    config: TrainConfig
    weights: Path
    target: np.ndarray


class ReferenceEnv(gymnasium.Env):
    """The official environment with the video reward in the last step of an episode.

    The observation is the official one with the goal hidden, followed by time / episode length. In the generous version
    the reward stays 0 and the last step's info has the clip, for which `VideoRewards` computes the reward.
    """

    def __init__(self, setup: Setup, seed: int, variant: Variant):
        config = setup.config
        self.video, self.generous = config.video, variant == "generous"
        self.env = make_official(config.env.task, seed, goal_hidden=config.env.goal_hidden)
        self.env.reset()
        view = View(camera="corner2", mirror=config.video.mirror)  # 640x480; the centre is cut out
        self.renderer = OpenGL(self.env.model, view, shadows=True)
        self.embed = None if self.generous else Embedder(setup)
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (40,), np.float64)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (4,), np.float32)
        self.time, self.frames = 0, []

    def reset(self, *, seed: int | None = None, options: Any = None):
        del seed, options
        obs, _ = self.env.reset()
        self.time, self.frames = 0, []
        return self._with_time(obs), {}

    def step(self, action: np.ndarray):
        obs, _, _, _, info = self.env.step(action)
        if not self.generous or self.time % self.video.frame_stride == 0:
            self.frames.append(self.renderer.draw_frame(self.env.data.geom_xpos, self.env.data.geom_xmat))
        self.time += 1
        last, reward = self.time == self.video.episode_length, 0.0
        info = {"success": info["success"]}
        if last:
            clip = np.stack(self.frames[:: 1 if self.generous else self.video.frame_stride])
            if self.embed is None:
                info["clip"] = clip
            else:
                reward = float(self.embed(clip[None])[0])
        return self._with_time(obs), reward, False, last, info

    def _with_time(self, obs: np.ndarray) -> np.ndarray:
        return np.append(obs, self.time / self.video.episode_length)


class Embedder:
    """Maps clips [n F H W 3] to similarities [n] with the target, by the PyTorch model."""

    def __init__(self, setup: Setup, generous: bool = False):
        self.scale = setup.config.video.pixel_scale
        self.device = "cuda" if generous and torch.cuda.is_available() else "cpu"
        self.dtype = torch.bfloat16 if self.device == "cuda" else torch.float32
        model = S3D()
        model.load_state_dict(torch.load(setup.weights, weights_only=True))
        layout = torch.channels_last_3d if generous else torch.contiguous_format
        self.model = cast(Any, model.eval()).to(self.device, memory_format=layout)  # not in the types of `to`
        self.target = torch.tensor(setup.target, device=self.device)

    @torch.no_grad()
    def __call__(self, clips: np.ndarray) -> np.ndarray:
        frames = torch.as_tensor(clips).to(self.device).movedim(-1, 1).contiguous().float() * self.scale
        with torch.autocast(self.device, self.dtype, enabled=self.dtype != torch.float32):
            embedding = self.model.video_layers(frames)["embedding"]
        return (embedding.float() @ self.target).cpu().numpy()


class VideoRewards(VecEnvWrapper):
    """Adds the video rewards, embedding the clips of all environments together, as their episodes end together."""

    def __init__(self, venv: VecEnv, embed: Embedder):
        super().__init__(venv)
        self.embed = embed

    def reset(self):
        return self.venv.reset()

    def step_wait(self):
        obs, rewards, dones, infos = self.venv.step_wait()
        if dones.all():
            rewards = self.embed(np.stack([info.pop("clip") for info in infos]))
        return obs, rewards, dones, infos


def make_environments(setup: Setup, variant: Variant) -> VecEnv:
    """Returns the environments of one version, each in its own process."""
    makers: list[Callable[[], gymnasium.Env]] = [
        functools.partial(ReferenceEnv, setup, seed, variant) for seed in range(setup.config.n_envs)
    ]
    environments = SubprocVecEnv(makers, start_method="spawn")
    return VideoRewards(environments, Embedder(setup, generous=True)) if variant == "generous" else environments


def run(setup: Setup, variant: Variant, iterations: int) -> dict[str, Any]:
    """Times this many iterations of training, after one that is not counted."""
    config, ppo = setup.config, setup.config.ppo
    environments = make_environments(setup, variant)
    learner = PPO(
        "MlpPolicy", environments, device="cpu", n_steps=config.video.episode_length, batch_size=ppo.batch_size,
        n_epochs=ppo.n_epochs, learning_rate=ppo.learning_rate, ent_coef=ppo.ent_coef, gamma=ppo.gamma,
        gae_lambda=ppo.gae_lambda, seed=config.seed,
    )  # fmt: skip
    learner.learn(config.steps_per_iteration)
    with EnergyMeter() as meter:
        started = time.perf_counter()
        learner.learn(iterations * config.steps_per_iteration, reset_num_timesteps=False)
        seconds = time.perf_counter() - started
    environments.close()
    return {
        "seconds": seconds, "episodes": iterations * config.n_envs, "n_envs": config.n_envs,
        "joules": meter.joules, "energy_from": meter.source,
    }  # fmt: skip
