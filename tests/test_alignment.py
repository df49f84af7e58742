"""Alignment of demonstrations with episodes: SciPy's statistics are the oracle, toys the episodes of the command."""

import itertools
import json

import numpy as np
import pytest
from scipy import stats

from rcjax import alignment, cli
from rcjax.alignment import EmbeddedEpisodes, align, compare_with_own, correlation
from rcjax.alignment_report import as_markdown
from rcjax.encoders import load_encoder, save_encoder
from rcjax.encoders.s3d import S3D, network
from rcjax.envs import TASKS
from tests import toy
from tests.encoders import tiny

D = 6


def episodes_of(name, seed, n=10, success=True):
    draw = np.random.default_rng(seed)
    embedding = draw.normal(size=(n, D)).astype(np.float32)
    return EmbeddedEpisodes(name, embedding, draw.normal(size=n), draw.random(n) < (0.5 if success else 0))


@pytest.fixture(scope="module")
def rows():
    return [episodes_of("a", 0), episodes_of("b", 1, success=False)]


@pytest.fixture(scope="module")
def targets():
    draw = np.random.default_rng(2)
    return [draw.normal(size=(k, D)).astype(np.float32) for k in (1, 3)]


@pytest.fixture(scope="module")
def aligned(rows, targets):
    return align(rows, targets, ["x", "y"])


def similarities(row, targets):
    return np.array([[max(e @ t for t in target) for target in targets] for e in row.embedding])


def test_similarity_is_that_of_successful_episodes_or_of_all_if_there_are_none(rows, targets, aligned):
    first, second = (similarities(row, targets) for row in rows)
    np.testing.assert_allclose(aligned.similarity[0], first[rows[0].success].mean(0), rtol=1e-5)
    np.testing.assert_allclose(aligned.similarity[1], second.mean(0), rtol=1e-5)
    np.testing.assert_allclose(aligned.centred.mean(0), 0, atol=1e-6)
    assert aligned.n_successes == (rows[0].success.sum(), 0) and aligned.n_episodes == (10, 10)


def test_correlations_are_scipys(rows, targets, aligned):
    for i, row in enumerate(rows):
        for j, values in enumerate(similarities(row, targets).T):
            assert aligned.spearman[i, j] == pytest.approx(stats.spearmanr(row.true_return, values)[0])
            assert aligned.pearson[i, j] == pytest.approx(stats.pearsonr(row.true_return, values)[0], rel=1e-4)


def test_the_p_value_is_that_of_scipys_permutation_test(rows, targets, aligned):
    """With 10,000 permutations on either side, p has a standard error of at most 0.005; four of them are allowed."""
    row, values = rows[0], similarities(rows[0], targets)[:, 0]
    expected = stats.permutation_test(
        (row.true_return,), lambda x: stats.spearmanr(x, values)[0], permutation_type="pairings",
        alternative="greater", n_resamples=2000, rng=np.random.default_rng(0),
    )  # fmt: skip
    assert aligned.spearman_p[0, 0] == pytest.approx(expected.pvalue, abs=0.05)
    assert aligned.spearman_low[0, 0] < aligned.spearman[0, 0] < aligned.spearman_high[0, 0]


def test_what_is_ranked_perfectly_cannot_be_by_chance():
    value = np.linspace(0, 1, 10)
    row = EmbeddedEpisodes("a", np.outer(value, np.ones(D)), value**3, value > 0.5)
    aligned = align([row], [np.ones((1, D)), -np.ones((1, D))], ["x", "-x"])
    np.testing.assert_allclose(aligned.spearman[0], [1, -1])
    assert aligned.spearman_p[0, 0] < 1e-3 and aligned.spearman_p[0, 1] == 1
    assert aligned.spearman_low[0, 0] == pytest.approx(1)


def test_constant_returns_have_no_correlation():
    row = episodes_of("a", 0)
    constant = EmbeddedEpisodes("a", row.embedding, np.full(10, 0.1), row.success)
    aligned = align([constant], [np.ones((1, D))], ["x"])
    assert np.isnan(aligned.spearman).all() and np.isnan(aligned.spearman_p).all()
    assert alignment.to_json(aligned)["spearman"] == [[None]] and aligned.own("spearman") is None
    assert "| - |" in as_markdown(aligned)


def test_correlation_of_a_constant_is_nan():
    assert np.isnan(correlation(np.ones(5), np.arange(5.0)))


def test_rows_without_returns_have_similarities_alone(targets):
    video = EmbeddedEpisodes("film.gif", np.ones((1, D), np.float32))
    aligned = align([episodes_of("a", 0), video], targets, ["x", "y"])
    assert np.isnan(aligned.spearman[1]).all() and not np.isnan(aligned.spearman[0]).any()
    assert aligned.n_successes[1] is None
    np.testing.assert_allclose(aligned.similarity[1], similarities(video, targets)[0], rtol=1e-5)
    assert aligned.own("similarity") is not None and aligned.own("spearman") is None


@pytest.mark.parametrize("n", [2, 3, 5])
def test_own_demonstrations_are_compared_with_all_permutations(n):
    matrix = np.random.default_rng(n).normal(size=(n, n))
    own = compare_with_own(matrix)
    assert own.hits == sum(max(range(n), key=lambda j, i=i: matrix[i, j]) == i for i in range(n))
    traces = [sum(matrix[i, p[i]] for i in range(n)) for p in itertools.permutations(range(n))]
    assert own.p_value == pytest.approx(np.mean([t >= np.trace(matrix) - 1e-9 for t in traces]))


def test_many_demonstrations_are_compared_with_random_permutations():
    own = compare_with_own(np.eye(9))
    assert own.hits == 9 and 1 / 10_001 <= own.p_value < 2e-3  # the given order is among them


def test_noise_grows_from_episode_to_episode():
    def expert(obs):
        return np.full((len(obs), 4), 7.0)

    actions = np.stack([alignment.noisy_expert(expert, 3, seed=1)(np.zeros((3, 39))) for _ in range(200)])
    np.testing.assert_array_equal(actions[:, 0], 1.0)  # the expert's, clipped
    noise = np.random.default_rng(1).uniform(-1, 1, (3, 4))
    np.testing.assert_allclose(actions[0], [np.ones(4), (1 + noise[1]) / 2, noise[2]])


def test_an_episode_becomes_a_clip_of_the_encoders_size():
    video = alignment.episode_video(load_encoder("small").network)
    assert (video.episode_length, video.frame_stride, video.size, video.view) == (128, 8, 64, None)


def test_frames_have_to_divide_an_episode():
    with pytest.raises(ValueError, match="frames=20 does not divide an episode of 128 control steps"):
        alignment.episode_video(S3D(), n_frames=20)


@pytest.mark.slow
def test_the_command_writes_matrices_of_tasks_and_videos(tmp_path, tiny_video, capsys):
    out = tmp_path / "new" / "alignment"
    arguments = ["align", "--task", "drawer-close-v3", "--video", str(tiny_video), "--episodes", "4", "--out", str(out)]
    arguments += ["--text", TASKS["drawer-close"].prompt, "--demonstration", str(tiny_video)]
    save_encoder(tmp_path / "tiny", tiny.make_encoder())
    arguments += ["--encoder", str(tmp_path / "tiny")]
    with toy.installed(embed_video=network.embed_video):
        assert cli.main(arguments) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("**Mean similarity of successful episodes**")
    values = json.loads((out / "table.json").read_text())
    assert values["rows"] == ["drawer-close", str(tiny_video)] and values["episodes"] == [4, 1]
    assert values["columns"] == ["“robot closing green drawer”", "square.gif"]
    assert values["spearman"][1] == [None, None] and values["own_similarity"]["hits"] in (0, 1, 2)
    assert (out / "table.md").read_text().endswith(printed.partition("Written")[0].rstrip("\n") + "\n")
    assert (out / "figure.png").stat().st_size > 5000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--video", "{video}"], "there is nothing to compare the videos with"),
        (["--task", "drawer-clsoe"], "'drawer-close'"),
        (["--episodes", "0"], "--episodes=0; it must be at least 1"),
        (["--encoder", "random"], "cannot judge videos"),
        (["--task", "door-open", "--text", "zzz"], "'zzz'"),
        (["--task", "door-open", "--demonstration", "none.gif"], "none.gif"),
        (["--task", "door-open", "--demonstration", "expert"], "--demonstration expert is no file"),
        (["--task", "door-open", "--out", "{video}"], "square.gif"),
    ],
)
def test_bad_input_is_refused_before_any_episode(arguments, message, tmp_path, tiny_video, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(alignment, "graded_episodes", lambda *_: pytest.fail("work has started"))
    arguments = [argument.format(video=tiny_video) for argument in arguments]
    assert cli.main(["align", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and not list(tmp_path.iterdir())
