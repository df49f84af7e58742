import dataclasses

import pytest

from rcjax import config
from rcjax.config import EnvConfig, TaskSpec, TrainConfig, VideoConfig
from rcjax.ppo import PPOConfig


@pytest.mark.parametrize("name", sorted(config.PRESETS))
def test_json_gives_the_same_config_back(name):
    original = config.preset(name)
    assert config.from_json(config.to_json(original)) == original


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
    ("make", "said"),
    [
        (lambda: VideoConfig(episode_length=130), "not a multiple of frame_stride"),
        (lambda: VideoConfig(size=65), "does not fit S3D"),
        (lambda: VideoConfig(episode_length=12, frame_stride=4), "does not fit S3D"),
        (lambda: TaskSpec(), "exactly one"),
        (lambda: TaskSpec(text="a", video="b"), "exactly one"),
        (lambda: TrainConfig(micro_batch=3), "does not divide seeds x n_envs = 8"),
        (lambda: TrainConfig(seeds=0), "seeds=0; it must be at least 1"),
        (lambda: TrainConfig(micro_batch=0), "micro_batch=0; it must be at least 1"),
        (lambda: TrainConfig(ppo=PPOConfig(batch_size=1000)), "does not divide n_envs x episode_length"),
        (lambda: TrainConfig(total_env_steps=100), "less than one iteration"),
        (lambda: TrainConfig(env=EnvConfig(bank_size=4, frozen_resets=True)), "a start of its own"),
        (lambda: EnvConfig(bank_size=0), "bank_size=0"),
        (lambda: config.preset("papr"), "did you mean 'paper'"),
        (lambda: config.from_json("{"), "not JSON"),
        (lambda: config.from_json('{"sed": 1}'), "unknown fields ['sed']"),
        (lambda: config.from_json('{"video": 3}'), "config.video is int"),
    ],
)
def test_what_does_not_add_up_is_refused_by_name(make, said):
    with pytest.raises(ValueError, match="(?s)" + said.replace("[", r"\[").replace("]", r"\]")):
        make()


def test_iterations_are_whole_episodes_of_all_environments():
    demo = dataclasses.replace(config.paper(), total_env_steps=3 * 1024 + 5)
    assert demo.n_iterations == 3
