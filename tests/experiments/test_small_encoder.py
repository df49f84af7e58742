"""The making of the bundled encoder, without its simulations.

Oracles: NumPy definitions, flax's batch norm, and numbers by hand.
"""

import dataclasses
import functools
import math
from types import SimpleNamespace

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.small_encoder import command, evaluation, fitting, learner, training, workspace
from experiments.small_encoder.behaviours import SHARES, Behaviours, draw_kinds
from experiments.small_encoder.dataset import VIDEO, Clips
from experiments.small_encoder.evaluation import area_under_curve, evaluate, summarize
from experiments.small_encoder.fitting import Batches, finished_encoder, make_tokenizer
from experiments.small_encoder.metaworld import SIBLINGS, Hovering, make_motions, progress_of
from experiments.small_encoder.sentences import ALL_TASKS, HELD_OUT_TASKS, TRAINED_TASKS, split_sentences
from experiments.small_encoder.training import (
    ARCHITECTURE,
    Batch,
    TrainingConfig,
    TrainingState,
    contrast,
    fold,
    initial_state,
    optimizer,
    train_step,
)
from experiments.small_encoder.workspace import Recipe, Workspace, load_state, save_state
from rcjax.encoders import load_encoder
from rcjax.encoders.parameters import array_specs
from rcjax.encoders.s3d import S3D, Architecture, layers
from rcjax.encoders.s3d.text import TextTower
from rcjax.encoders.s3d.video import VideoTower
from rcjax.envs.experts import expert_policy
from rcjax.envs.registry import MT50, task_class
from tests.encoders import tiny
from tests.encoders.s3d import slow, synthetic

FLOAT32 = 1e-5  # sums of at most a few hundred float32 numbers, relative to the largest


KEY = jax.eval_shape(lambda: jax.random.key(0))  # for shapes alone


# Training.


def random_like(shapes, seed: int = 0):
    """Returns NumPy arrays of these shapes: kernels by fan-in, scales and variances about 1, the others about 0."""
    draw = np.random.RandomState(seed)

    def fill(path, leaf):
        name = path[-1].key
        if name in ("scale", "var"):
            return draw.uniform(0.5, 1.5, leaf.shape).astype(np.float32)
        scale = math.sqrt(2 / math.prod(leaf.shape[:-1])) if name == "kernel" else 0.5
        return (scale * draw.standard_normal(leaf.shape)).astype(np.float32)

    return jax.tree_util.tree_map_with_path(fill, shapes)


def random_state(architecture: Architecture) -> TrainingState:
    """Returns a state of training with random numbers."""
    tower, text, key = VideoTower(architecture=architecture, batch_norm=True), TextTower(7, architecture), KEY
    video = random_like(jax.eval_shape(tower.init, key, jnp.zeros((1, 2, 4, 4, 24))))
    words = random_like(jax.eval_shape(text.init, key, jnp.zeros((1, 16), jnp.int32)))
    params = {
        "video": video["params"], "text": words["params"], "log_scale": np.float32(math.log(9)), "bias": np.float32(5)
    }  # fmt: skip
    return TrainingState(
        params=params,
        batch_stats=video["batch_stats"],
        optimizer=optimizer(TrainingConfig()).init(params),
        step=jnp.zeros((), jnp.int32),
    )


@pytest.fixture(scope="module")
def tiny_state():
    return random_state(tiny.ARCHITECTURE)


def test_folded_parameters_are_the_network_with_running_averages(tiny_state, monkeypatch):
    """Oracle: flax's batch norm, which takes the running averages instead of the batch's statistics."""
    folded, text = fold(tiny_state)["video"], fold(tiny_state)["text"]
    assert array_specs({"video": folded, "text": text}) == tiny.NETWORK.param_specs(tiny.TOKENIZER)
    clips = jnp.asarray(np.random.RandomState(1).rand(3, 4, 8, 8, 24), jnp.float32)
    got = jax.jit(VideoTower(architecture=tiny.ARCHITECTURE).apply)({"params": folded}, clips)
    averaging = functools.partial(of_running_averages, nn.BatchNorm)
    monkeypatch.setattr(layers.nn, "BatchNorm", averaging)
    variables = {"params": tiny_state.params["video"], "batch_stats": tiny_state.batch_stats}
    tower = VideoTower(architecture=tiny.ARCHITECTURE, batch_norm=True)
    expected = jax.jit(functools.partial(tower.apply, mutable=False))(variables, clips)
    np.testing.assert_allclose(got, expected, atol=FLOAT32 * tiny.NORM)
    assert np.linalg.norm(expected[0] - expected[1]) > 100 * FLOAT32 * tiny.NORM  # the clips are told apart


def of_running_averages(batch_norm, **options):
    return batch_norm(**options | {"use_running_average": True})


def test_a_narrow_network_of_the_released_shape():
    """A quarter of the released widths, which are multiples of four. Some by hand."""
    blocks = dict(ARCHITECTURE.blocks)
    assert ARCHITECTURE.stem == (16, 16, 48)
    assert blocks["mixed_3b"] == (16, 24, 32, 4, 8, 8)
    assert blocks["mixed_5c"] == (96, 48, 96, 12, 32, 32)
    assert list(blocks) == ["mixed_3b", "mixed_3c", "mixed_4b", "mixed_4f", "mixed_5b", "mixed_5c"]


def test_the_finished_encoder_is_complete_and_its_products_are_the_logits_of_training():
    """But for the bias. Oracle: the scale that training has learned."""
    tokenizer = make_tokenizer()
    shapes = jax.eval_shape(functools.partial(initial_state, n_rows=tokenizer.n_rows, config=TrainingConfig()), KEY)
    state = jax.tree.map(lambda x: np.ones(x.shape, x.dtype), shapes.replace(optimizer=None))
    state.params["log_scale"] = np.float32(math.log(12.5))
    encoder = finished_encoder(state)
    assert array_specs(encoder.params) == encoder.network.param_specs(tokenizer)
    assert encoder.tokenizer == tokenizer and encoder.network.architecture.embedding_norm**2 == pytest.approx(12.5)
    encoder.network.check_clips(VIDEO.n_frames, VIDEO.size, VIDEO.pixel_scale)
    assert (encoder.network.n_frames, encoder.network.size) == (16, 64)


def numpy_contrast(by_sentence, by_video, task, progress):
    """Returns the losses by loops over pairs, in float64."""

    def distance(logit, progress):
        error = logit - (8 * progress - 4)
        if (progress == 1 and error > 0) or (progress == 0 and error < 0):
            return 0.0
        return error**2 / 2 if abs(error) < 1 else abs(error) - 0.5

    def foreign(logit):
        return -math.log(1 - 1 / (1 + math.exp(-logit)))

    terms = {name: [] for name in ("which_task", "own_sentence", "foreign_sentence", "own_video", "foreign_video")}
    for i, row in enumerate(by_sentence):
        if progress[i] == 1:
            terms["which_task"].append(-math.log(math.exp(row[task[i]]) / np.exp(row).sum()))
        for j, logit in enumerate(row):
            own = j == task[i]
            terms["own_sentence" if own else "foreign_sentence"].append(
                distance(logit, progress[i]) if own else foreign(logit)
            )
        for j, logit in enumerate(by_video[i]):
            if j != i and progress[j] == 1:
                own = task[i] == task[j]
                terms["own_video" if own else "foreign_video"].append(
                    distance(logit, progress[i]) if own else foreign(logit)
                )
    return {name: np.mean(values) if values else 0.0 for name, values in terms.items()}


@pytest.mark.parametrize("progress", [[1, 0.25, 0, 1, 0.7, 1], [0.25, 0, 0.5, 0.1, 0.7, 0.3], [1] * 6])
def test_losses_are_means_over_pairs(progress):
    """Also of a batch without a success: it has no demonstration, and the losses that need one are 0."""
    random = np.random.default_rng(0)
    by_sentence, by_video = 4 * random.standard_normal((6, 4)), 4 * random.standard_normal((6, 6))
    task, progress = np.array([0, 0, 2, 2, 3, 0]), np.array(progress, float)
    got = jax.jit(contrast)(
        *(jnp.asarray(x, jnp.float32) for x in (by_sentence, by_video)), jnp.asarray(task), progress
    )
    expected = numpy_contrast(by_sentence, by_video, task, progress)
    assert got.keys() == expected.keys()
    for name, loss in expected.items():
        assert float(got[name]) == pytest.approx(float(loss), rel=FLOAT32), name


@pytest.fixture
def shallow(monkeypatch):
    """An architecture that compiles soon takes the place of the bundled encoder's: one block, few channels."""
    chosen = dataclasses.replace(tiny.ARCHITECTURE, blocks=tiny.ARCHITECTURE.blocks[:1])
    for module in (training, fitting):
        monkeypatch.setattr(module, "ARCHITECTURE", chosen)
    return chosen


@pytest.mark.slow
def test_training_lowers_the_losses(shallow):
    """Of one batch that tells two tasks apart; the step counts, and running averages move."""
    config = TrainingConfig(steps=40, warmup_share=0.1)
    clips = np.stack([np.full((2, 16, 16, 24), 40 + 120 * (i % 2), np.uint8) for i in range(4)])
    clips += np.random.default_rng(0).integers(0, 20, clips.shape).astype(np.uint8)
    batch = Batch.of_leaves(
        clips=clips,
        task=np.array([0, 1, 0, 1], np.int32),
        progress=np.array([1, 1, 1, 1], np.float32),
        sentences=tiny.TOKENIZER.tokenize(["closing drawer", "green robot"]),
    )
    step = jax.jit(train_step.__wrapped__, static_argnames="config")  # of the networks above, not of those cached
    state, totals = random_state(shallow), []
    before = state.batch_stats["conv1"]["norm"]["mean"]
    for i in range(config.steps):
        state, losses = step(state, batch, jax.random.key(i), config)
        totals.append(float(losses["which_task"]))
    assert int(state.step) == config.steps
    assert np.mean(totals[-5:]) < 0.5 * np.mean(totals[:3])
    assert not np.allclose(before, state.batch_stats["conv1"]["norm"]["mean"])


def test_a_saved_state_is_loaded_to_the_last_bit(tiny_state, tmp_path):
    state = tiny_state.replace(step=jnp.int32(7))
    save_state(tmp_path / "state.npz", state)
    loaded = load_state(tmp_path / "state.npz", tiny_state)
    assert jax.tree.structure(loaded) == jax.tree.structure(state)
    jax.tree.map(np.testing.assert_array_equal, loaded, state)
    assert [file.name for file in tmp_path.iterdir()] == ["state.npz"]


# Batches.


@pytest.fixture(scope="module")
def labelled():
    """Six clips of each task, whose pixels say which they are. The first task always fails, and the second never."""
    clips = {}
    for number, task in enumerate(TRAINED_TASKS):
        frames = np.zeros((6, 2, 2, 2, 3), np.uint8)
        frames[:, 0, 0, 0, 0], frames[:, 0, 0, 0, 1] = number, np.arange(6)
        success = np.full(6, number == 1) if number < 2 else np.arange(6) % 3 == 0
        progress = np.where(success, 1, np.arange(6) / 10).astype(np.float32)
        clips[task] = Clips(frames=frames, success=success, progress=progress, kinds=np.full(6, "expert"))
    return clips


@pytest.fixture(scope="module")
def batches(labelled):
    return Batches(labelled, make_tokenizer(), seed=3, config=TrainingConfig())


def test_a_batch_depends_on_seed_round_and_step_alone(batches, labelled):
    again = Batches(labelled, make_tokenizer(), seed=3, config=TrainingConfig())
    batches.draw(0, 8)  # no state is kept
    jax.tree.map(np.testing.assert_array_equal, batches.draw(1, 7), again.draw(1, 7))
    other_seed = Batches(labelled, make_tokenizer(), seed=4, config=TrainingConfig())
    for other in (batches.draw(1, 8), batches.draw(2, 7), other_seed.draw(1, 7)):
        assert not np.array_equal(other.sentences, again.draw(1, 7).sentences)
        assert not np.array_equal(other.clips, again.draw(1, 7).clips)


def test_a_batch_has_clips_with_their_own_labels(batches, labelled):
    """Of different tasks, with a success and a failure of each that has them."""
    for step in range(20):
        batch = batches.draw(0, step)
        assert batch.clips.shape == (64, 1, 1, 1, 24) and batch.clips.dtype == np.uint8
        task, row = batch.clips[:, 0, 0, 0, 0], batch.clips[:, 0, 0, 0, 1]
        np.testing.assert_array_equal(batch.task, task)
        assert len(set(task)) == 16 and (np.bincount(task)[np.unique(task)] == 4).all()
        expected = [labelled[TRAINED_TASKS[t]].progress[r] for t, r in zip(task, row, strict=True)]
        np.testing.assert_array_equal(batch.progress, expected)
        for number in set(task):
            success = labelled[TRAINED_TASKS[number]].success[row[task == number]]
            assert success.any() == (number != 0) and success.all() == (number == 1)


def test_a_batch_has_a_sentence_of_every_task_and_half_of_them_are_prompts(batches):
    """Of 52 tasks in 40 batches: five standard deviations are 0.06. A prompt is also drawn among the others, in 2 %."""
    tokenizer, prompts = make_tokenizer(), []
    known = [{tuple(ids) for ids in tokenizer.tokenize(split_sentences(task)[0])} for task in TRAINED_TASKS]
    first = tokenizer.tokenize([task_class(task).prompt for task in TRAINED_TASKS])
    for step in range(40):
        sentences = batches.draw(0, step).sentences
        assert all(tuple(ids) in of_task for ids, of_task in zip(sentences, known, strict=True))
        prompts.append((sentences == first).all(1))
    assert 0.44 < np.mean(prompts) < 0.58
    assert len(TRAINED_TASKS) == 52


# Data.


def episode(hand, thing, goal=(0.5, 0.0, 0.0)):
    """Returns an episode's observations [8 39] with the hand's and the object's distances along x, of every step."""
    obs = np.zeros((8, 39))
    obs[:, 0], obs[:, 4] = hand, thing
    obs[:, 36:39] = goal
    return obs


HALF_WAY = [0, 0, 0, 0, 0, 0, 0.25, 0.25]  # metres; the last two of eight steps are the last quarter


@pytest.mark.parametrize(
    ("task", "obs", "expected"),
    [
        ("drawer-close", episode(hand=0.26, thing=0), 0),
        ("drawer-close", episode(hand=[0.26] * 6 + [0.05, 0.06], thing=0), 0.5 * 0.4),  # touching: 6 cm apart
        ("drawer-close", episode(hand=[0.26] * 6 + [0.16] * 2, thing=0), 0.5 * 0.4 * 0.5),
        ("drawer-close", episode(hand=[0.26] * 6 + [0.26, 0.06], thing=0), 0.5 * 0.4 * 0.5),  # a mean over steps
        ("drawer-close", episode(hand=[0.26] + [0] * 5 + [0.26] * 2, thing=0), 0),  # and back
        ("drawer-close", episode(hand=[0.26] * 6 + [0.5] * 2, thing=0), 0),  # farther than before
        ("drawer-close", episode(hand=-0.3, thing=HALF_WAY), 0.5 * 0.6 * 0.5),
        ("drawer-close", episode(hand=np.array(HALF_WAY) + 0.05, thing=HALF_WAY), 0.5 * (0.4 + 0.6 * 0.5)),
        ("drawer-close", episode(hand=0.05, thing=[0] * 6 + [0.5] * 2), 0.5 * (0 + 0.6)),
        ("reach", episode(hand=HALF_WAY, thing=0), 0.5 * 0.5),
        ("reach-wall", episode(hand=0, thing=HALF_WAY), 0),  # no object
    ],
)
def test_progress_of_a_failure_is_how_near_hand_and_object_came(task, obs, expected):
    """Success is 1, whatever the distances."""
    run = SimpleNamespace(obs=np.stack([obs, obs], axis=1))
    progress = progress_of(SimpleNamespace(name=task), run, np.array([False, True]))
    np.testing.assert_allclose(progress, [expected, 1], atol=1e-6)  # float32
    assert progress.dtype == np.float32


def test_clips_are_saved_joined_and_picked(labelled, tmp_path):
    first, second = (labelled[task] for task in TRAINED_TASKS[:2])
    joined = Clips.concatenate([first, second])
    joined.save(tmp_path / "new" / "clips.npz")
    loaded = Clips.load(tmp_path / "new" / "clips.npz").take(np.array([7, 0]))
    for field in dataclasses.fields(Clips):
        values = [getattr(second, field.name)[1], getattr(first, field.name)[0]]
        np.testing.assert_array_equal(getattr(loaded, field.name), values)


def test_a_workspace_of_another_recipe_is_refused(tmp_path):
    work = Workspace(tmp_path / "work")
    for _ in range(2):
        work.open(Recipe(seed=1))
    with pytest.raises(ValueError, match=r"config\.json has another recipe than .*'seed': 2"):
        work.open(Recipe(seed=2))


@pytest.mark.parametrize("has_sibling", [True, False])
def test_episodes_are_shared_out_among_the_behaviours(has_sibling):
    """Within five standard deviations of 4000 draws; without a sibling, its share drifts."""
    kinds = draw_kinds(4000, np.random.default_rng(0), has_sibling)
    assert kinds[:2].tolist() == ["expert", "expert"]
    shares = dict(SHARES)
    if not has_sibling:
        shares["drifting"] += shares.pop("sibling")
    assert sum(shares.values()) == pytest.approx(1)
    for kind, share in shares.items():
        assert (kinds == kind).mean() == pytest.approx(share, abs=5 * math.sqrt(share / 4000)), kind
    assert set(kinds) == set(shares)


def test_siblings_are_tasks_with_the_other_aim():
    assert all({task, sibling} <= set(MT50) and SIBLINGS[sibling] == task for task, sibling in SIBLINGS.items())


def test_behaviours_follow_their_experts_or_do_not():
    """Oracle: the experts. One that breaks off follows it at first, and not at the end."""
    kinds = np.array([*SHARES, "breaking off"])
    obs = np.zeros((len(kinds), 39))
    obs[:, :3], obs[:, 4:7], obs[:, 36:39] = [0, 0.6, 0.2], [0.1, 0.7, 0.1], [0.1, 0.85, 0.1]
    motions = functools.partial(make_motions, SimpleNamespace(name="drawer-close"))
    policy = Behaviours(kinds, np.random.default_rng(0), 4, motions)
    actions = np.stack([policy(obs) for _ in range(120)])
    own, other = expert_policy("drawer-close")(obs), expert_policy("drawer-open")(obs)
    of = {kind: i for i, kind in enumerate(kinds)}
    np.testing.assert_array_equal(actions[:, of["expert"]], np.tile(own[0], (120, 1)))
    np.testing.assert_array_equal(actions[:8, of["breaking off"]], np.tile(own[0], (8, 1)))
    assert not np.allclose(actions[-1, of["breaking off"]], own[0])
    # Means of white noise of 120 steps, at most 1.2, within five standard deviations.
    for kind, action in (("noisy", own[0]), ("sibling", other[0]), ("random", np.zeros(4))):
        np.testing.assert_allclose(actions[:, of[kind]].mean(0), action, atol=5 * 1.2 / math.sqrt(120), err_msg=kind)
    bias = actions[:, of["biased"]].mean(0)
    assert (abs(bias) < 1 + 5 / math.sqrt(120)).all() and abs(bias).max() > 0.3
    assert np.isfinite(actions).all()


def test_a_hovering_hand_visits_a_few_places_of_which_some_are_near_the_object_or_the_goal():
    """Oracle: where a hand ends up that moves by a hundredth of each clipped action, as Metaworld's does."""
    n, thing, goal = 400, np.array([0.1, 0.7, 0.1]), np.array([-0.2, 0.85, 0.2])
    policy = Hovering(n, np.random.default_rng(0))
    obs = np.zeros((n, 39))
    obs[:, :3], obs[:, 4:7], obs[:, 36:39] = [0, 0.6, 0.2], thing, goal
    hands = []
    for time in range(300):
        action = policy(obs, time)
        obs[:, :3] += 0.01 * np.clip(action[:, :3], -1, 1)
        hands.append(obs[:, :3].copy())
    last = hands[-1]
    assert abs(last - hands[-20]).max() < 1e-3  # it stays there
    close = [(np.linalg.norm(last - place, axis=1) < 0.2).mean() for place in (thing, goal)]
    assert all(0.2 < share < 0.45 for share in close)
    assert (last.min(0) < [-0.3, 0.45, 0.1]).all() and (last.max(0) > [0.3, 0.85, 0.3]).all()
    assert abs(action[:, 3]).max() <= 1


def test_the_best_episodes_of_a_learning_policy_and_some_others_are_kept():
    similarity = np.random.default_rng(0).permutation(20).astype(float)
    kept = learner._chosen(similarity, np.random.default_rng(1))
    assert len(set(kept)) == len(kept) == 8
    assert similarity[kept[:4]].tolist() == [19, 18, 17, 16]


# Evaluation.


def test_area_under_the_curve_is_the_share_of_ordered_pairs():
    """By loops over pairs; equal scores count as half."""
    random = np.random.default_rng(0)
    for _ in range(20):
        score, success = random.integers(0, 6, 15).astype(float), random.random(15) < 0.4
        pairs = [(a > b) + (a == b) / 2 for a in score[success] for b in score[~success]]
        expected = np.mean(pairs) if pairs else np.nan
        np.testing.assert_allclose(area_under_curve(score, success), expected, rtol=1e-12)  # float64
    assert np.isnan(area_under_curve(np.arange(3.0), np.ones(3, bool)))
    assert np.isnan(area_under_curve(np.arange(3.0), np.zeros(3, bool)))


def test_clips_are_embedded_in_batches_of_one_size(monkeypatch):
    """The last one is filled up. Oracle: the slow definition of the network, on the clips themselves."""
    monkeypatch.setattr(evaluation, "BATCH", 2)
    encoder = tiny.make_encoder(S3D(tiny.ARCHITECTURE))
    frames = synthetic.structured_clips(3, 16, 64, 64)
    expected = slow.video_layers(encoder.params, frames, tiny.ARCHITECTURE)["embedding"]
    np.testing.assert_allclose(evaluation.embed_clips(encoder, frames), expected, atol=FLOAT32 * tiny.NORM)


def test_an_evaluation_says_what_similarities_tell(monkeypatch):
    """Embeddings are given, one dimension for each task; numbers by hand."""
    task, at = "drawer-close", ALL_TASKS.index("drawer-close")
    success, progress = np.array([True, False, True, False]), np.array([1, 0.5, 1, 0.2], np.float32)
    clips = Clips(frames=np.zeros((4, 1, 1, 1, 3), np.uint8), success=success, progress=progress, kinds=np.full(4, "x"))
    video = np.zeros((4, len(ALL_TASKS)))
    video[:, at] = [3, 1, 2, 2.5]  # of the success and failure pairs, (3, 1), (3, 2.5) and (2, 1) are in order
    video[2, at + 1] = 9  # the second success is taken for another task

    def embed_sentences(_, sentences):
        axes = np.eye(len(ALL_TASKS))
        prompts = {task_class(name).prompt: axes[i] for i, name in enumerate(ALL_TASKS)}
        return np.stack([prompts.get(sentence, -axes[at]) for sentence in sentences])

    monkeypatch.setattr(evaluation, "embed_clips", lambda *_: video)
    monkeypatch.setattr(evaluation, "embed_sentences", embed_sentences)
    row = evaluate(tiny.make_encoder(), {task: clips})[task]
    assert row["successes"] == 0.5 and row["recall"] == 0.5
    assert (row["auc"], row["auc_paraphrase"]) == (0.75, 0.25)  # the other sentences say the opposite
    assert row["rank"] == pytest.approx(np.corrcoef([4, 1, 2, 3], [3.5, 2, 3.5, 1])[0, 1])  # of ranks, with a tie


def test_means_are_over_the_tasks_trained_on_and_over_the_others():
    table = {task: {"auc": float(task in TRAINED_TASKS), "recall": float("nan")} for task in ALL_TASKS}
    table[TRAINED_TASKS[0]]["recall"] = 0.5
    table[HELD_OUT_TASKS[0]] |= {"auc": 0.5, "recall": 1.0}
    means = summarize(table)
    assert means["trained on"] == {"auc": 1.0, "recall": 0.5}
    assert means["never trained on"] == {"auc": 0.5 / len(HELD_OUT_TASKS), "recall": 1.0}
    assert summarize({task: table[task] for task in TRAINED_TASKS}).keys() == {"trained on"}


@dataclasses.dataclass(frozen=True)
class SmallBatches(TrainingConfig):
    tasks_in_batch: int = 2


@pytest.mark.slow
def test_the_command_makes_an_encoder_and_continues_where_it_was_stopped(tmp_path, monkeypatch, shallow):
    """Two tasks, a few episodes and steps. Oracle of the second call: nothing that exists is written again."""
    tasks = ("drawer-close", "reach")
    for module in (command, fitting, evaluation):
        monkeypatch.setattr(module, "TRAINED_TASKS", tasks)
    monkeypatch.setattr(command, "ALL_TASKS", [*tasks, "reach-wall"])
    monkeypatch.setattr(evaluation, "HELD_OUT_TASKS", ("reach-wall",))
    monkeypatch.setattr(workspace, "TrainingConfig", SmallBatches)
    recipe = Recipe(episodes=8, held_out_episodes=8, steps=3, rounds=1, iterations=1, focus_iterations=1, round_steps=2)
    work = Workspace(tmp_path / "work")
    make = functools.partial(command.main, command.Command(recipe=recipe, out=work.path, workers=1))
    make()
    encoder = load_encoder(work.encoder(1))
    assert encoder.network.size == 64 and encoder.network.architecture.blocks == shallow.blocks
    assert encoder.tokenizer.unknown_words("robot closing green drawer") == []
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(encoder.params))
    learned = Clips.load(work.clips("learned-1", "reach"))
    assert learned.frames.shape == (8, 16, 64, 64, 3) and set(learned.kinds) == {"learned"}
    assert np.ptp(learned.frames.astype(int), axis=(1, 2, 3, 4)).min() > 50  # something is drawn in each
    kept = [work.clips("scripted", "reach"), work.training_state(0), work.training_state(1)]
    before = [path.stat().st_mtime_ns for path in kept]
    work.encoder(1).rename(tmp_path / "lost")
    make()  # from the last state of round 1
    assert [path.stat().st_mtime_ns for path in kept] == before
    jax.tree.map(np.testing.assert_array_equal, load_encoder(work.encoder(1)).params, encoder.params)
