"""Demonstrations of every kind, brought to one vector."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rcjax import demonstration, envs, taskspec
from rcjax.config import TaskSpec, VideoConfig
from rcjax.encoders import Encoder, random_encoder
from rcjax.encoders.s3d import S3D, WordTokenizer, embed_text, params_from_torch
from rcjax.envs.experts import run_policy
from rcjax.types import GeomPoses
from rcjax.video_io import read_clip, read_video
from rcjax.world import task_scene
from tests.encoders import tiny
from tests.encoders.s3d import synthetic

N = 20  # episodes, stepped by C MuJoCo: nothing has to be compiled for it
VIDEO = VideoConfig(size=32, frame_stride=8)


@pytest.fixture(scope="module")
def drawer():
    return envs.make("drawer-close", seeds=range(N), backend="c")


@pytest.fixture(scope="module")
def expert_poses(drawer):
    return demonstration.expert_poses(*drawer, 128, n_tries=N)


@pytest.fixture(scope="module")
def reader():
    """An encoder with a text tower and a small vocabulary."""
    params = jax.tree.map(jnp.asarray, params_from_torch(synthetic.random_state()))
    words = {word: i + 1 for i, word in enumerate(synthetic.WORDS)}
    return Encoder(S3D(), params, WordTokenizer(words), "synthetic")


def test_expert_poses_are_a_successful_episode_and_are_kept(drawer, expert_poses, monkeypatch):
    env, params = drawer
    assert expert_poses.pos.shape == (128, env.mj_model.ngeom, 3)
    handle = env.mj_model.geom("objGeom").id
    assert expert_poses.pos[-1, handle, 1] - expert_poses.pos[0, handle, 1] > 0.08  # pushed shut, metres along y

    def not_again(*_):
        raise AssertionError("recorded twice")

    monkeypatch.setattr(demonstration, "run_expert", not_again)
    again = demonstration.expert_poses(env, params, 128, n_tries=N)
    np.testing.assert_array_equal(again.pos, expert_poses.pos)


@pytest.mark.slow
def test_the_expert_is_paid_more_than_any_untrained_policy(drawer, expert_poses):
    """A random encoder, calibrated on other untrained episodes than those it is judged on; the expert's own episode."""
    env, params = drawer
    scene = task_scene(env, VIDEO)

    draw = np.random.default_rng(0)
    poses = run_policy(env, params, lambda obs: draw.standard_normal((N, 4)), range(N)).poses
    episodes = [jax.tree.map(lambda x, i=i: x[:, i], poses) for i in range(N)]
    untrained = np.stack([demonstration.draw_episode(scene, episode, VIDEO) for episode in episodes])
    encoder = random_encoder(jax.random.key(0), untrained[:8])
    target = taskspec.embed_clip(demonstration.draw_episode(scene, expert_poses, VIDEO), encoder, VIDEO)
    own = float(target @ target)
    untrained_rewards = [float(taskspec.embed_clip(clip, encoder, VIDEO) @ target) for clip in untrained[8:]]
    assert own > max(untrained_rewards)


def test_a_file_becomes_the_encoders_clip(tiny_video):
    spec = TaskSpec(video=(str(tiny_video), "expert"), minus_video=str(tiny_video), text="anything")
    clips = demonstration.given_clips(spec, VIDEO)
    (clip,) = clips.values()
    assert list(clips) == [str(tiny_video)] and clip.shape == (16, 32, 32, 3) and clip.dtype == np.uint8
    np.testing.assert_array_equal(clip, read_clip(tiny_video, 16, 32))


def test_the_only_frame_of_a_demonstration_is_its_last(tiny_video):
    """As of an episode, so that an encoder that sees one frame compares outcomes. Oracle: the whole video."""
    video = dataclasses.replace(VIDEO, size=48, frame_stride=128)
    (clip,) = demonstration.given_clips(TaskSpec(video=str(tiny_video)), video).values()
    np.testing.assert_array_equal(clip, read_video(tiny_video)[-1:])
    assert not np.array_equal(clip[0], read_video(tiny_video)[0])


def test_a_target_that_is_not_finite_is_refused(reader):
    """Of a text tower with finite weights that overflow."""
    text = jax.tree.map(lambda a: a * 1e20, reader.params["text"])
    huge = dataclasses.replace(reader, params={**reader.params, "text": text})
    with pytest.raises(ValueError, match=r"the sentence's embedding by the encoder \(synthetic\) is not finite"):
        taskspec.embed_spec(TaskSpec(text=synthetic.WORDS[0]), {}, huge, VIDEO)


def test_a_sentence_is_embedded_by_the_text_tower(reader):
    text = " ".join(synthetic.WORDS[:3])
    got = taskspec.embed_spec(TaskSpec(text=text), {}, reader, VIDEO)
    expected = embed_text(reader.params, reader.tokenizer.tokenize([text]))[0]
    np.testing.assert_array_equal(got, expected[None])


def test_a_target_has_the_norm_of_the_encoders_embeddings(tiny_video):
    """Of a sentence and of a video, by an encoder that scales both."""
    encoder, video = tiny.make_encoder(), dataclasses.replace(VIDEO, frame_stride=16)
    clips = demonstration.given_clips(TaskSpec(video=str(tiny_video)), video)
    for spec in (TaskSpec(text="closing green drawer"), TaskSpec(video=str(tiny_video))):
        target = taskspec.embed_spec(spec, clips, encoder, video)
        assert target.shape == (1, 10) and target.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(target), tiny.NORM, rtol=1e-6)  # float32


def test_terms_are_added_and_subtracted(tiny_video):
    """Oracle: equation 3 of the paper, written out with the embedding of each term alone."""
    encoder, video = tiny.make_encoder(), dataclasses.replace(VIDEO, frame_stride=16)
    path = str(tiny_video)

    def embed(**terms):
        spec = TaskSpec(**terms)
        return taskspec.embed_spec(spec, demonstration.given_clips(spec, video), encoder, video)

    press, button, drawer = embed(video=path), embed(text="closing drawer"), embed(text="green drawer")
    edited = embed(video=path, minus_text="closing drawer", text="green drawer")
    np.testing.assert_allclose(edited, press - button + drawer, atol=1e-5 * tiny.NORM)  # float32
    both = {"text": ("closing drawer", "green drawer")}
    np.testing.assert_allclose(embed(**both), button + drawer, atol=1e-5 * tiny.NORM)
    np.testing.assert_allclose(embed(**both, combine="mean"), (button + drawer) / 2, atol=1e-5 * tiny.NORM)
    np.testing.assert_array_equal(embed(**both, combine="max"), np.concatenate([button, drawer]))
    np.testing.assert_allclose(embed(text="green drawer", minus_video=path), drawer - press, atol=1e-5 * tiny.NORM)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (TaskSpec(text="green drawer", video="a/press.mp4", minus_text="red"), "“green drawer” + press.mp4 - “red”"),
        (TaskSpec(text=("a", "b"), combine="max"), "max of “a”, “b”"),
        (TaskSpec(text="a", combine="mean"), "“a”"),
    ],
)
def test_demonstrations_are_described_in_a_line(spec, expected):
    def name(term):
        return f"“{term.source}”" if term.kind == "text" else term.source.split("/")[-1]

    assert taskspec.describe_terms(spec.terms, name, spec.combine) == expected


def test_a_sentence_of_unknown_words_is_refused(reader):
    with pytest.raises(ValueError, match="xyzzy"):
        taskspec.require_reader("xyzzy plugh", reader)


def test_a_sentence_with_a_known_word_is_read(reader):
    assert taskspec.require_reader("xyzzy drawer", reader) is reader.tokenizer


def test_an_encoder_without_a_vocabulary_reads_nothing(reader):
    """It is named, and so are the ways out."""
    with pytest.raises(
        ValueError, match=r"^a randomly initialised S3D has no vocabulary, so it cannot read 'red box'; "
    ):
        taskspec.require_reader("red box", None)
    mute = dataclasses.replace(reader, tokenizer=None, provenance="two\nlines")
    with pytest.raises(
        ValueError, match=r"^the encoder \(two lines\) .*; give --encoder small or .*, or use a video"
    ) as said:
        taskspec.require_reader("red " * 250, mute)
    assert "(1000 characters)" in str(said.value) and len(str(said.value)) < 500


@pytest.mark.parametrize(
    ("text", "notice"),
    [
        ("robot closing green drawer", ""),
        ("don\u2019t", ""),
        (
            "grasping drawer, grasping",
            "The encoder does not know 'grasping', and reads the sentence 'grasping drawer, grasping' without.",
        ),
        ("\u00dcber robot's", "The encoder does not know '\u00fcber', \"robot's\", and reads"),
    ],
)
def test_unknown_words_are_told(text, notice, reader):
    """Once each, in small letters and with plain apostrophes, as they are read."""
    said = taskspec.describe_unknown_words(text, reader.tokenizer)
    assert said.startswith(notice) and bool(said) == bool(notice)


def test_the_notice_of_many_unknown_words_is_short(reader):
    text = " ".join(f"xyz{i}" * 10 for i in range(30))
    said = taskspec.describe_unknown_words(text, reader.tokenizer)
    assert "and 22 more" in said and "\n" not in said and len(said) < 700


class Recorded:
    """Episodes of one geom that moves a metre a step along x; the third succeeds at `first_success`."""

    def __init__(self, steps, first_success):
        self.success = np.zeros((steps, 4), bool)
        self.success[first_success:, 2] = True
        pos = np.broadcast_to(np.arange(steps, dtype=np.float32)[:, None, None, None], (steps, 4, 1, 3))
        self.poses = GeomPoses(pos=pos, mat=np.zeros((steps, 4, 1, 3, 3)))


def test_no_success_no_demonstration(drawer, monkeypatch):
    monkeypatch.setattr(demonstration, "run_expert", lambda env, params, rows, steps: Recorded(steps, steps))
    with pytest.raises(ValueError, match="did not succeed in 4 episodes of 500"):
        demonstration.expert_poses(*drawer, 100, n_tries=4)


def test_a_slow_experts_episode_is_shown_in_fast_motion(drawer, monkeypatch):
    monkeypatch.setattr(demonstration, "run_expert", lambda env, params, rows, steps: Recorded(steps, 300))
    shown = demonstration.expert_poses(*drawer, 101, n_tries=4).pos[:, 0, 0]
    assert shown.shape == (101,)
    assert (shown[0], shown[-1]) == (0, 309)  # ten steps from the success on
    assert np.isin(np.diff(shown), (3, 4)).all()


def test_a_spoilt_recording_is_made_anew_and_an_unwritable_cache_costs_only_time(drawer, monkeypatch, tmp_path):
    monkeypatch.setattr(demonstration, "run_expert", lambda env, params, rows, steps: Recorded(steps, 10))
    monkeypatch.setenv("RCJAX_CACHE", str(tmp_path))
    first = demonstration.expert_poses(*drawer, 20, n_tries=4)
    (kept,) = (tmp_path / "experts").iterdir()
    kept.write_bytes(kept.read_bytes()[:100])
    np.testing.assert_array_equal(demonstration.expert_poses(*drawer, 20, n_tries=4).pos, first.pos)
    assert kept.stat().st_size > 100
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RCJAX_CACHE", str(tmp_path / "file"))
    np.testing.assert_array_equal(demonstration.expert_poses(*drawer, 20, n_tries=4).pos, first.pos)
