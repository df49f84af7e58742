import dataclasses
import math
import re
from typing import Any

import numpy as np
import pytest

from rcjax import config
from rcjax.config import EnvConfig, TaskSpec, TrainConfig, VideoConfig
from rcjax.ppo import PPOConfig
from rcjax.rewards.config import CloningConfig, DiscriminatorConfig


@pytest.mark.parametrize("name", sorted(config.PRESETS))
def test_json_round_trip(name):
    original = config.preset(name)
    assert config.from_json(config.to_json(original)) == original


def test_kitchens_frames_are_not_mirrored_by_the_release():
    release = config.preset("release", "Kitchen_Slide")
    assert release.env.is_kitchen and not release.video.mirror
    assert config.preset("release", "drawer-close").video.mirror


def test_presets_differ_where_paper_and_release_do():
    paper, release = config.paper(), config.release()
    assert paper.video.pixel_scale == pytest.approx(1 / 255)
    assert release.video.pixel_scale == 1.0
    assert release.video.mirror and not paper.video.mirror
    assert list(release.env.train_seeds) == list(range(8))
    assert list(release.env.eval_seeds) == list(range(10, 18))
    assert release.env.frozen_resets and not paper.env.frozen_resets
    # Stable-Baselines3 as the release calls it: one minibatch of all 8 x 128 samples, one epoch, entropy 0.5.
    for preset in (paper, release):
        assert (preset.n_envs, preset.video.episode_length, preset.video.n_frames) == (8, 128, 32)
        assert (preset.ppo.batch_size, preset.ppo.n_epochs, preset.ppo.ent_coef) == (1024, 1, 0.5)
        assert preset.total_env_steps == 5_000_000


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: VideoConfig(episode_length=130), "not a multiple of frame_stride"),
        (lambda: VideoConfig(view=481), "view=481; it must be at most 480"),
        (lambda: TaskSpec(), "got nothing for the demonstration"),
        (
            lambda: TaskSpec(minus_text="a"),
            "minus_text=('a',) for the demonstration; give at least one sentence or video",
        ),
        (lambda: TaskSpec(text="a", minus_video="b", combine="max"), "only a sum can subtract"),
        (lambda: TaskSpec(text="a", combine="median"), "combine"),
        (lambda: TaskSpec(text=("a", 3)), "text"),
        (lambda: TrainConfig(micro_batch=3), "does not divide seeds x n_envs = 8"),
        (lambda: TrainConfig(seeds=0), "seeds=0; it must be at least 1"),
        (lambda: TrainConfig(micro_batch=0), "micro_batch=0; it must be at least 1"),
        (lambda: TrainConfig(ppo=PPOConfig(batch_size=1000)), "does not divide n_envs x episode_length"),
        (lambda: TrainConfig(total_env_steps=100), "less than one iteration"),
        (lambda: TrainConfig(env=EnvConfig(bank_size=4, frozen_resets=True)), "a start of its own"),
        (lambda: EnvConfig(bank_size=0), "bank_size=0"),
        (lambda: TaskSpec(text="?!"), "at least one word"),
        (lambda: TaskSpec(text="close " * 1000), "at most 1000 characters"),
        (lambda: TaskSpec(video=""), "a folder of pictures"),
        (lambda: EnvConfig(train_seed=2**32 - 255), "train_seed=4294967041; it must be at most 4294967040"),
        (lambda: EnvConfig(bank_size=10**9), "bank_size=1000000000"),
        (lambda: TrainConfig(seed=2**31 - 1, seeds=2), "seed=2147483647; it must be at most 2147483646"),
        (lambda: TrainConfig(seed=10**5000), "thousands of digits"),
        (lambda: TrainConfig(n_envs=2**26), "is more than 2^31"),
        (lambda: TrainConfig(ppo=PPOConfig(n_epochs=2**31 - 1, batch_size=1024)), "is more than 2^31"),
        (lambda: TrainConfig(total_env_steps=2**70), "total_env_steps="),
        (lambda: VideoConfig(episode_length=128_000_000), "is more than 2^31 numbers"),
        (lambda: VideoConfig(pixel_scale=0), "1/255 scales pixels"),
        (lambda: config.preset("papr"), "did you mean 'paper'"),
        (lambda: config.from_json("{"), "not JSON"),
        (lambda: config.from_json("[" * 100_000), "not JSON"),
        (lambda: config.from_json('{"seeds": "3"}'), "seeds='3'; it must be a whole number"),
        (lambda: config.from_json('{"video": {"pixel_scale": NaN}}'), "pixel_scale=nan"),
        (lambda: config.from_json('{"sed": 1}'), "unknown fields ['sed']"),
        (lambda: config.from_json('{"video": 3}'), "config.video is int"),
    ],
)
def test_inconsistent_options_are_refused_by_name(make, message):
    with pytest.raises(ValueError, match="(?s)" + re.escape(message)) as refused:
        make()
    assert len(str(refused.value)) < 400


CONFIGS = (TrainConfig, EnvConfig, VideoConfig, TaskSpec, PPOConfig, DiscriminatorConfig, CloningConfig)
INVALID_VALUES = (math.nan, b"x", {}, object(), [0.5], np.bool_(True))  # no field accepts them


@pytest.mark.parametrize("kind", CONFIGS)
def test_every_field_refuses_values_of_another_type(kind):
    for field in dataclasses.fields(kind):
        for value in INVALID_VALUES:
            with pytest.raises(ValueError, match=rf"^{field.name}="):
                kind(**{field.name: value})


@pytest.mark.parametrize("kind", CONFIGS)
def test_numbers_are_no_booleans_and_booleans_no_numbers(kind):
    for field in dataclasses.fields(kind):
        if isinstance(field.default, bool | int | float):
            value = 1 if isinstance(field.default, bool) else True
            with pytest.raises(ValueError, match=rf"^{field.name}={value!r}; "):
                kind(**{field.name: value})


@pytest.mark.parametrize("value", [-1, math.inf, -math.inf, 2**200])
@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (
            TrainConfig,
            "seed seeds total_env_steps n_envs micro_batch encoder_seed eval_every checkpoint_every expert_episodes",
        ),
        (EnvConfig, "bank_size train_seed eval_seed test_seed"),
        (VideoConfig, "episode_length frame_stride size view samples pixel_scale"),
        (DiscriminatorConfig, "n_disc_updates demo_batch_size disc_buffer_size disc_learning_rate"),
        (CloningConfig, "bc_updates bc_batch_size bc_learning_rate bc_ent_weight bc_l2_weight bc_kl_weight"),
        (PPOConfig, "learning_rate n_epochs batch_size gamma gae_lambda vf_coef adam_eps critic_warmup"),
    ],
)
def test_numbers_out_of_range_are_refused(kind, names, value):
    for name in names.split():
        with pytest.raises(ValueError, match=rf"{name}=|{2**200}"):
            kind(**{name: value})


def test_numpy_numbers_are_accepted():
    seed: Any = np.int64(3)
    learning_rate: Any = np.float32(0.5)
    original = TrainConfig(seed=seed, ppo=PPOConfig(batch_size=1024, learning_rate=learning_rate))
    assert config.from_json(config.to_json(original)) == original


def test_iterations_are_whole_episodes_of_all_environments():
    demo = dataclasses.replace(config.paper(), total_env_steps=3 * 1024 + 5)
    assert demo.n_iterations == 3


@pytest.mark.parametrize(
    ("episode_length", "frame_stride", "steps"),
    [
        (128, 4, list(range(0, 128, 4))),
        (12, 4, [0, 4, 8]),
        (6, 3, [0, 3]),
        (5, 1, [0, 1, 2, 3, 4]),
        (128, 128, [127]),
        (1, 1, [0]),
    ],
)
def test_kept_steps_begin_with_the_first_and_one_alone_is_the_last(episode_length, frame_stride, steps):
    """As the release takes every stride-th frame, and as a picture of an episode's end is taken."""
    video = VideoConfig(episode_length=episode_length, frame_stride=frame_stride)
    assert list(video.kept_steps) == steps
    assert len(steps) == video.n_frames


def test_clips_for_other_encoders_than_s3d_are_valid():
    """What an encoder takes is checked when it is loaded (`Network.check_clips`)."""
    assert VideoConfig(size=225, frame_stride=128).n_frames == 1
    assert VideoConfig(episode_length=12, frame_stride=4).n_frames == 3


def test_only_the_demo_preset_names_an_encoder():
    assert config.demo().encoder == "small"
    assert config.paper().encoder is None and config.release().encoder is None


@pytest.mark.parametrize(
    ("changes", "first"),
    [
        ({}, 2000),
        ({"bank_size": 1000}, 2000),
        ({"bank_size": 1001}, 2001),
        ({"test_seed": 1100}, 1256),
        ({"train_seed": 5000, "test_seed": 5100}, 5256),
        ({"bank_size": 8, "eval_seed": 10, "test_seed": 20}, 20),
    ],
)
def test_test_starts_are_none_of_training_or_evaluation(changes, first):
    env = EnvConfig(**changes)
    assert env.first_test_seed == first
    test = set(range(first, first + env.bank_size))
    assert not test & set(env.train_seeds) and not test & set(env.eval_seeds)


def test_a_list_of_sentences_is_a_tuple():
    assert TaskSpec(text=["a", "b"]) == TaskSpec(text=("a", "b"))
