"""The similarity of a video with demonstrations. The oracle is the product of the embeddings of taskspec."""

import subprocess
import sys

import numpy as np
import pytest

import rcjax
from rcjax.config import TaskSpec, VideoConfig
from rcjax.encoders import Encoder, save_encoder
from rcjax.encoders.clip import CLIP, params_from_torch
from rcjax.encoders.s3d import S3D
from rcjax.similarity import as_spec, clip_config, embed_clips
from rcjax.taskspec import embed_clip, embed_sentence
from rcjax.video_io import read_clip, read_video
from tests.encoders.clip import synthetic
from tests.encoders.tiny import NETWORK, NORM, make_encoder

CONFIG = VideoConfig(size=32, episode_length=8, frame_stride=1)  # the clips of the tiny encoder
SENTENCE = "robot closing green drawer"
ROUNDING = 1e-5  # relative; other shapes of a batch add in another order


@pytest.fixture(scope="module")
def encoder():
    return make_encoder()


@pytest.fixture(scope="module")
def embedding(encoder, tiny_video):
    return np.asarray(embed_clip(read_clip(tiny_video, 8, 32), encoder, CONFIG))


def test_a_video_with_itself_is_its_squared_norm(encoder, tiny_video, embedding):
    got = rcjax.reward_of(tiny_video, tiny_video, encoder)
    assert isinstance(got, float)
    assert got == pytest.approx(float(embedding @ embedding), rel=ROUNDING) == pytest.approx(NORM**2, rel=ROUNDING)


def test_a_sequence_gives_a_list_in_its_order(encoder, tiny_video, embedding):
    tasks = [SENTENCE, str(tiny_video), TaskSpec(text="the drawer"), tiny_video]
    got = rcjax.reward_of(str(tiny_video), tasks, encoder)
    sentences = [np.asarray(embed_sentence(text, encoder)) for text in (SENTENCE, "the drawer")]
    expected = [float(embedding @ z) for z in (sentences[0], embedding, sentences[1], embedding)]
    np.testing.assert_allclose(got, expected, rtol=ROUNDING, atol=ROUNDING)
    assert isinstance(got, list) and isinstance(got[0], float)
    assert rcjax.reward_of(tiny_video, tasks[:1], encoder) == [rcjax.reward_of(tiny_video, SENTENCE, encoder)]


def test_an_array_is_a_video_of_even_frames(encoder, tiny_video):
    frames = read_video(tiny_video)
    assert rcjax.reward_of(frames, SENTENCE, encoder) == rcjax.reward_of(tiny_video, SENTENCE, encoder)


def test_an_encoder_is_an_object_or_its_folder(encoder, tiny_video, tmp_path):
    save_encoder(tmp_path / "encoder", encoder)
    expected = rcjax.reward_of(tiny_video, SENTENCE, encoder)
    assert rcjax.reward_of(tiny_video, SENTENCE, tmp_path / "encoder") == expected
    assert rcjax.reward_of(tiny_video, SENTENCE, encoder=str(tmp_path / "encoder")) == expected


def test_unknown_words_are_named_in_a_warning(encoder, tiny_video):
    with pytest.warns(UserWarning, match="does not know 'xyzzy'"):
        got = rcjax.reward_of(tiny_video, "robot xyzzy closing green drawer", encoder)
    assert got == rcjax.reward_of(tiny_video, SENTENCE, encoder)


def test_strings_are_videos_if_they_exist_or_end_like_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "open drawer").mkdir()
    assert as_spec("close drawer") == TaskSpec(text="close drawer")
    assert as_spec("open drawer") == TaskSpec(video="open drawer")
    assert as_spec("nowhere.GIF") == TaskSpec(video="nowhere.GIF")
    assert as_spec(tmp_path) == TaskSpec(video=str(tmp_path))
    assert as_spec("long " * 100) == TaskSpec(text="long " * 100)


@pytest.mark.parametrize(
    ("video", "task", "message"),
    [
        ("nowhere.gif", SENTENCE, "nowhere.gif does not exist"),
        (None, "nowhere.mp4", "nowhere.mp4 does not exist"),
        (np.zeros((4, 8, 8)), SENTENCE, r"got frames of float64 \[4, 8, 8\]"),
        (None, [], "nothing to compare"),
        (None, 3.5, "3.5 is a float"),
        (None, [SENTENCE, None], "None is a NoneType"),
        (None, "xyzzy plugh", "no word of the sentence"),
        (None, "?!", "at least one word"),
    ],
)
def test_invalid_arguments_are_refused(encoder, tiny_video, no_embedding, video, task, message):
    with pytest.raises(ValueError, match=message):
        rcjax.reward_of(tiny_video if video is None else video, task, encoder)


@pytest.mark.parametrize(("name", "message"), [("random", "cannot judge videos"), ("nowhere", "there is no encoder")])
def test_other_encoders_are_refused(tiny_video, no_embedding, name, message):
    with pytest.raises(ValueError, match=message):
        rcjax.reward_of(tiny_video, SENTENCE, name)


def test_a_sentence_needs_a_text_tower(tiny_video, no_embedding):
    with pytest.raises(ValueError, match="has no vocabulary"):
        rcjax.reward_of(tiny_video, SENTENCE, make_encoder(tokenizer=None))


@pytest.fixture
def no_embedding(monkeypatch):
    """Fails a test in which input is refused only after a program is compiled."""

    def fail(*_, **__):
        raise AssertionError("a clip is embedded")

    monkeypatch.setattr("rcjax.similarity.embed_clips", fail)


@pytest.mark.parametrize(
    ("network", "n_frames", "size"), [(NETWORK, 8, 32), (S3D(), 32, 250), (CLIP(), 1, 224), (S3D(size=64), 32, 64)]
)
def test_clips_are_those_of_the_network(network, n_frames, size):
    config = clip_config(network)
    assert (config.n_frames, config.size) == (n_frames, size)


def test_clips_that_the_network_does_not_take_are_refused():
    assert clip_config(S3D(), n_frames=8, size=48).size == 48
    with pytest.raises(ValueError, match="--size 32 and --frames 8"):
        clip_config(NETWORK, n_frames=16)
    with pytest.raises(ValueError, match="an even number of frames"):
        clip_config(S3D(), n_frames=7)


def test_a_batch_is_filled_up_and_the_rest_dropped(encoder):
    clips = np.random.default_rng(0).integers(0, 256, (5, 8, 32, 32, 3), np.uint8)
    got = embed_clips(iter(clips), encoder, CONFIG, batch=4)
    expected = [embed_clip(clip, encoder, CONFIG) for clip in clips]
    np.testing.assert_allclose(got, expected, rtol=ROUNDING, atol=ROUNDING)


def test_clip_sees_the_last_frame_of_the_video(tiny_video):
    """That is the video of this frame alone, as of an episode (`VideoConfig.kept_steps`)."""
    params = params_from_torch(synthetic.random_state(), synthetic.ARCHITECTURE)
    encoder = Encoder(CLIP(synthetic.ARCHITECTURE), params, synthetic.TOKENIZER, "synthetic")
    frames, tasks = read_video(tiny_video), [synthetic.SENTENCES[0], tiny_video]
    got, first, last = (rcjax.reward_of(video, tasks, encoder) for video in (tiny_video, frames[:1], frames[-1:]))
    np.testing.assert_allclose(got, last, rtol=ROUNDING)
    assert got[1] == pytest.approx(1, rel=ROUNDING) and first[1] < 0.999  # cosines


def test_importing_the_package_stays_light():
    program = (
        "import sys, rcjax; print({'jax', 'numpy', 'matplotlib'} & set(sys.modules), 'reward_of' in rcjax.__all__)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("set() True", "")
    with pytest.raises(AttributeError, match="no_such_name"):
        rcjax.no_such_name  # noqa: B018
