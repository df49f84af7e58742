"""The paper's figures: their runs, tables, pictures and verdicts, from invented results and from runs of toys."""

import dataclasses
import json
import os
import signal
import sys

import numpy as np
import pytest

from experiments import all as all_figures
from experiments import drawing, fig2, fig3, fig4, fig5, fig6, fig7, fig8, fig9, figure, scales
from experiments.plan import Plan
from experiments.recordings import write_pictures
from experiments.results import Results
from experiments.scales import Options
from experiments.scores import digest_of
from experiments.tables import as_markdown, describe_setting, table_rows
from rcjax import train
from rcjax.alignment import Alignment
from rcjax.encoders import load_encoder, save_encoder
from rcjax.encoders.s3d import S3D, WordTokenizer, network
from rcjax.render import meshes
from rcjax.statistics import stratified_bootstrap
from rcjax.stopping import Stopped
from rcjax.storage import RunFolder, read_metrics
from tests import toy
from tests.encoders import tiny
from tests.experiments.fake_runs import invent

FIGURES = {
    "fig3": fig3.FIGURE,
    "fig4": fig4.FIGURE,
    "fig5": fig5.FIGURE,
    "fig6": fig6.FIGURE,
    "fig7": fig7.figure({}),
    "fig8": fig8.FIGURE,
    "fig9": fig9.figure(None),
}


ONE_OF_EACH = ("drawer-close", "kitchen-slide")


@pytest.fixture
def plan(tmp_path):
    return Plan(scales.demo_scale(), tmp_path / "demo")


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("scale", scales.SCALES.values())
def test_jobs_have_names_of_their_own_and_follow_what_they_begin_from(name, scale, tmp_path):
    names, plan = [], Plan(scale(), tmp_path)
    for job in FIGURES[name].jobs(plan):
        for run, config in job.runs():
            assert config.env.task == job.task
            assert config.init_from is None or str(config.init_from) == str(plan.runs / config.init_from.split("/")[-1])
            assert config.init_from is None or config.init_from.split("/")[-1] in names
            names.append(run)
        assert sum(config.seeds for config in job.configs) == plan.scale.base.seeds
    assert len(names) == len(set(names))


def test_figures_share_runs_of_equal_configs(tmp_path):
    """A name stands for one config in all figures, so what one of them has trained, another one uses."""
    for scale in scales.SCALES.values():
        configs = {}
        for figure_ in FIGURES.values():
            for job in figure_.jobs(Plan(scale(), tmp_path)):
                for run, config in job.runs():
                    assert configs.setdefault(run, config) == config
        if scale is scales.demo_scale:
            assert len(configs) < sum(
                len(job.runs()) for f in FIGURES.values() for job in f.jobs(Plan(scale(), tmp_path))
            )


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_drawn_before_its_runs_and_after(name, tmp_path):
    """The table has no rows before, and a row for each job, the untrained policy and other controls after."""
    plan = Plan(dataclasses.replace(scales.demo_scale(), tasks=ONE_OF_EACH), tmp_path / "demo")
    chosen = FIGURES[name]
    jobs = tuple(chosen.jobs(plan))
    results = Results(plan, jobs)
    figure.write(chosen, results)
    folder = plan.folder / name
    before = json.loads((folder / "table.json").read_text())
    assert before["rows"] == [] and {v["outcome"] for v in before["verdicts"]} == {"cannot tell"}
    empty_picture = (folder / "figure.png").read_bytes()
    for recording in chosen.recordings(plan):
        write_pictures(recording.path, np.zeros((4, 8, 8, 3), np.uint8))
    invent(plan, jobs, {})
    figure.write(chosen, results)
    after = json.loads((folder / "table.json").read_text())
    rows = {row["name"] for row in after["rows"]}
    assert rows >= {job.name for job in jobs} | {f"{job.task}-untrained" for job in jobs}
    assert (folder / "figure.png").read_bytes() != empty_picture
    table = (folder / "table.md").read_text()
    assert f"{len(jobs)} of {len(jobs)} settings are finished" in table and "on a device" in table
    assert "encoder small (weights 0123abcd)" in table and "of " + jobs[-1].name not in table
    assert len(after["verdicts"]) == len(before["verdicts"]) == table.count("| **")


def judged(chosen, plan, scores):
    jobs = tuple(chosen.jobs(plan))
    invent(plan, jobs, scores)
    return {verdict.claim: verdict for verdict in chosen.judge(Results(plan, jobs))}


@pytest.mark.parametrize(
    ("own", "rival", "finetuned", "outcomes"),
    [
        (0.9, 0.1, 1.0, ("reproduced", "reproduced", "reproduced")),
        (0.9, 0.8, 0.95, ("not reproduced", "reproduced", "reproduced")),
        (0.4, 0.1, 0.05, ("reproduced", "reproduced", "not reproduced")),
        (0.1, 0.9, 0.1, ("not reproduced", "not reproduced", "not reproduced")),
        (0.01, -0.5, 0.0, ("not reproduced", "reproduced", "not reproduced")),  # twice of nothing is nothing
    ],
)
def test_the_sentence_is_compared_with_its_rivals(plan, own, rival, finetuned, outcomes):
    scores = {}
    for task in fig3.TASKS:
        scores |= {f"{task}-text": own, f"{task}-gail": rival, f"{task}-airl": rival}
        scores |= {f"{task}-text-release": finetuned, f"{task}-gail-release": rival, f"{task}-airl-release": rival}
    verdicts = judged(fig3.FIGURE, plan, scores)
    assert tuple(verdicts[claim].outcome for claim in ("C2a", "C2b", "C2c")) == outcomes
    assert all(task in verdicts["C2a"].why for task in fig3.TASKS)


@pytest.mark.parametrize(
    ("own", "rival", "outcomes"),
    [
        (0.9, 0.0, ("reproduced", "reproduced")),
        (0.9, 0.2, ("reproduced", "not reproduced")),
        (0.1, -0.3, ("not reproduced", "reproduced")),
    ],
)
def test_in_the_kitchen_tasks_are_solved_or_not_and_rivals_move_nothing_or_something(plan, own, rival, outcomes):
    scores = {}
    for task in fig4.TASKS:
        scores |= {f"{task}-video": own, f"{task}-gail": rival, f"{task}-airl": rival}
    verdicts = judged(fig4.FIGURE, plan, scores)
    assert tuple(verdicts[claim].outcome for claim in ("C4a", "C4b")) == outcomes


@pytest.mark.parametrize(
    ("edited", "text", "finetuned", "outcomes"),
    [
        (0.9, 0.2, 0.1, ("reproduced", "reproduced")),
        (0.2, 0.9, 1.0, ("not reproduced", "not reproduced")),
        (0.01, -0.3, 0.0, ("not reproduced", "not reproduced")),
    ],
)
def test_the_edited_video_is_compared_with_the_sentence(plan, edited, text, finetuned, outcomes):
    scores = {"drawer-close-edited": edited, "drawer-close-text": text, "drawer-close-text-release": finetuned}
    verdicts = judged(fig8.FIGURE, plan, scores)
    assert (verdicts["C7"].outcome, verdicts["C9"].outcome) == outcomes


@pytest.mark.parametrize(
    ("before", "after", "scratch", "outcomes"),
    [
        (0.2, 0.9, 0.4, ("reproduced", "reproduced")),
        (0.2, 0.9, 0.99, ("not reproduced", "reproduced")),  # what cloning alone does as well
        (0.2, 0.3, 0.1, ("not reproduced", "not reproduced")),
    ],
)
def test_finetuning_on_an_episode_has_to_beat_cloning_alone(plan, before, after, scratch, outcomes):
    scores = {}
    for task in fig6.TASKS:
        scores |= {f"{task}-text": before, f"{task}-text-cloned": after, f"{task}-cloned": scratch}
    verdicts = judged(fig6.FIGURE, plan, scores)
    assert (verdicts["C6a"].outcome, verdicts["C6b"].outcome) == outcomes


@pytest.mark.parametrize(("clip", "outcome"), [(0.0, "reproduced"), (0.5, "not reproduced")])
def test_clip_gives_no_signal_if_nothing_is_learned_from_it(plan, tmp_path, clip, outcome):
    chosen = fig9.figure(str(tmp_path))
    scores = {f"{task}-video": 0.9 for task in fig9.TASKS} | {f"{task}-videos-5": 0.2 for task in fig9.TASKS}
    verdicts = judged(chosen, plan, scores | {f"{task}-clip": clip for task in fig9.TASKS})
    assert verdicts["C8a"].outcome == "reproduced" and verdicts["C8b"].outcome == outcome


def test_without_clip_its_claim_is_open(plan):
    assert judged(fig9.figure(None), plan, {})["C8b"].outcome == "cannot tell"


def aligned(matrix):
    n = len(matrix)
    names, counts = tuple(map(str, range(n))), (10,) * n
    return Alignment(names, names, counts, counts, *(np.array(matrix, float) for _ in range(6)))


@pytest.mark.parametrize(
    ("matrix", "outcome"),
    [
        (np.eye(5), "reproduced"),
        (np.eye(5) - 2 * np.outer(np.eye(5)[0], np.eye(5)[0]), "cannot tell"),  # a row's best sentence is another one
        (np.ones((5, 5)), "not reproduced"),
        (np.eye(2), "not reproduced"),  # one of two orders: p = 0.5
        (np.eye(1), "cannot tell"),
    ],
)
def test_sentences_are_judged_by_hits_and_chance(matrix, outcome):
    assert {verdict.outcome for verdict in fig2.judge(aligned(matrix))} == {outcome}


def test_smoke_runs_and_few_seeds_decide_nothing(tmp_path):
    for scale in (scales.smoke_scale(), dataclasses.replace(scales.demo_scale(), base=scales.smoke_scale().base)):
        plan = Plan(dataclasses.replace(scale, tasks=ONE_OF_EACH), tmp_path / scale.name)
        jobs = tuple(fig8.FIGURE.jobs(plan))
        invent(plan, jobs, {"drawer-close-edited": 0.9})
        figure.write(fig8.FIGURE, Results(plan, jobs))
        verdicts = json.loads((plan.folder / "fig8" / "table.json").read_text())["verdicts"]
        assert {verdict["outcome"] for verdict in verdicts} == {"cannot tell"}


def test_tables_have_intervals_and_the_ways_to_select(plan):
    job = plan.from_text("drawer-close")
    invent(plan, [job], {job.name: 0.5})
    lines = as_markdown(list(table_rows(Results(plan, (job,))))).splitlines()
    assert lines[2].startswith("| drawer-close | untrained policy |  | 2% (") and lines[2].endswith(" |  |  |")
    low, high = stratified_bootstrap(0.5 + 0.01 * np.arange(5.0)[None])
    last, best = f"({low:.0%} to {high:.0%})", f"({low + 0.1:.0%} to {high + 0.1:.0%})"
    assert f"| 52% {last} | 62% {best} | 62% {best} | 62% {best} |" in lines[3]
    assert lines[3].endswith(f"| 0.52 ({low:.2f} to {high:.2f}) | 0.62 ({low + 0.1:.2f} to {high + 0.1:.2f}) | 2 |")


@pytest.mark.parametrize(
    ("module", "arguments", "message"),
    [
        ("fig3", ["--scale", "paper"], "--scale paper needs converted weights of S3D"),
        ("fig3", ["--encoder", "random"], "--encoder random cannot read the figures' sentences"),
        ("fig3", ["--encoder", "nowhere"], "nowhere"),
        ("fig3", ["--scale", "paper", "--encoder", "small"], "a clip of 32 frames of 250x250 does not fit"),
        ("fig8", ["--seeds", "0"], "--seeds=0; it must be at least 1"),
        ("fig7", ["--video", "door-open=none.gif"], "expected TASK=FILE"),
        ("fig7", ["--video", "none.gif"], "expected TASK=FILE"),
        ("fig7", ["--video", "door-open="], "expected TASK=FILE"),
        ("fig7", ["--video", f"door-open={__file__}"], "test_figures.py"),
        ("fig3", ["--devices", "99"], "99"),
        ("fig2", ["--devices", "99"], "99"),
        ("all", ["--devices", "99"], "99"),
        ("fig3", ["--out", f"{__file__}/here"], "test_figures.py"),
        ("all", ["--out", f"{__file__}/here"], "test_figures.py"),
        ("fig9", ["--clip", "nowhere"], "nowhere"),
        ("all", ["--clip", "nowhere"], "nowhere"),
        ("fig2", ["--scale", "paper"], "--scale paper needs converted weights of S3D"),
    ],
)
def test_bad_options_are_refused_before_any_work(module, arguments, message, tmp_path, monkeypatch, capsys):
    from experiments.entry import run

    makers = {
        "fig2": (Options, fig2.make_figure),
        "fig3": (Options, lambda options: figure.make(fig3.FIGURE, options)),
        "fig7": (fig7.Command, lambda options: figure.make(fig7.figure(fig7.parse_videos(options.video)), options)),
        "fig8": (Options, lambda options: figure.make(fig8.FIGURE, options)),
        "fig9": (fig9.Command, lambda options: figure.make(fig9.figure(fig9.check_clip(options.clip)), options)),
        "all": (all_figures.Command, all_figures.make_all),
    }
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [module, *arguments])
    monkeypatch.setattr(train, "start", lambda *_: pytest.fail("work has started"))
    assert run(module, *makers[module], None) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and not list(tmp_path.iterdir())


def test_runs_of_other_weights_or_of_another_parent_are_refused(tmp_path, monkeypatch):
    """Before any work: none of the figure's runs is taken up."""
    monkeypatch.setattr(figure, "finish_run", lambda *_: pytest.fail("a run was taken up"))
    options = Options(out=tmp_path)
    plan = figure.make_plan(options)
    job = plan.from_text("drawer-close")
    child = plan.finetuned(job, "release")
    invent(plan, [job, child], {})
    figure_of_two = dataclasses.replace(fig8.FIGURE, jobs=lambda _: [job, child], recordings=lambda _: ())
    parent = plan.runs / job.name / "scores.json"
    with pytest.raises(ValueError, match=r"drawer-close-text was made with an encoder of weights 0123abcd, expected"):
        figure.make(figure_of_two, options)
    scores = json.loads(parent.read_text())
    del scores["encoder"]
    parent.write_text(json.dumps(scores))
    with pytest.raises(ValueError, match=r"an encoder of weights unknown, expected \w{8}; give another folder"):
        figure.make(figure_of_two, options)
    parent.write_text(json.dumps(scores | {"encoder": load_encoder("small").fingerprint}))
    path = plan.runs / child.name / "scores.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"began_from": digest_of(parent.parent)}))
    figure.require_own_runs(plan, [job, child])
    changed = json.loads(parent.read_text())
    changed["policies"]["last"]["true_return"][0] += 1.0
    parent.write_text(json.dumps(changed))
    with pytest.raises(ValueError, match=r"drawer-close-text-release began from a policy that .*drawer-close-text no"):
        figure.make(figure_of_two, options)


def test_a_figure_is_written_at_the_end_though_other_processes_did_its_runs(tmp_path, monkeypatch):
    """The last run is scored by another process while this one waits for it."""
    options = Options(out=tmp_path)
    job = figure.make_plan(options).from_text("drawer-close")
    monkeypatch.setattr(figure, "finish_run", lambda config, path, _: invent(figure.make_plan(options), [job], {}))
    monkeypatch.setattr(figure, "keep_scores", lambda *_: False)
    changes = {"draw": lambda *_: None, "judge": lambda _: [], "recordings": lambda _: ()}
    chosen = dataclasses.replace(fig8.FIGURE, jobs=lambda _: [job], **changes)
    figure.make(chosen, options)
    assert "1 of 1 settings are finished" in (tmp_path / "demo" / "fig8" / "table.md").read_text()


def test_a_run_that_is_not_finite_holds_no_other_back(tmp_path, monkeypatch):
    """What begins from it is left out; what does not is run. A run that the user stops ends everything."""
    options = Options(out=tmp_path)
    plan, code = figure.make_plan(options), 1
    parent, other = plan.from_text("drawer-close"), plan.from_reward("drawer-close", "gail")
    child, taken = plan.finetuned(parent, "release"), []

    def finish(config, path, _):
        taken.append(path.name)
        if path.name == parent.name:
            raise Stopped("iteration 3 is not finite", exit_code=code)

    monkeypatch.setattr(figure, "finish_run", finish)
    monkeypatch.setattr(figure, "keep_scores", lambda *_: False)
    jobs = [parent, child, other]
    changes = {"draw": lambda *_: None, "judge": lambda _: [], "recordings": lambda _: ()}
    chosen = dataclasses.replace(fig8.FIGURE, jobs=lambda _: jobs, **changes)
    message = r"fig8 lacks the runs drawer-close-text \(iteration 3.*\); drawer-close-text-release \(it begins from"
    with pytest.raises(Stopped, match=message):
        figure.make(chosen, options)
    assert taken == [parent.name, other.name]
    code = 130
    with pytest.raises(Stopped, match="iteration 3"):
        figure.make(chosen, options)
    assert taken[2:] == [parent.name]


def test_a_policys_video_that_is_not_there_is_left_out(plan):
    job = plan.from_text("drawer-close")
    invent(plan, [job], {})
    assert drawing.policy_video(Results(plan, (job,)), job) is not None
    (plan.runs / job.name / "policy.mp4").unlink()
    assert drawing.policy_video(Results(plan, (job,)), job) is None


def test_tables_of_the_kitchen_say_that_it_has_one_start(plan):
    for task, says in (("kitchen-slide", True), ("drawer-close", False)):
        assert (
            "the Kitchen has one start only" in describe_setting(Results(plan, (plan.from_text(task),)), [])
        ) == says


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (KeyboardInterrupt(), 130, "some: interrupted; the same command goes on from there"),
        (NotADirectoryError(20, "Not a directory", "/a/b"), 2, "some: error: /a/b: Not a directory"),
    ],
)
def test_commands_end_with_one_line(error, code, line, monkeypatch, capsys):
    from experiments.entry import run

    def work(_):
        raise error

    monkeypatch.setattr(sys, "argv", ["some"])
    assert run("some", Options, work, None) == code
    said = capsys.readouterr().err
    assert said.startswith(line) and said.count("\n") == 1


def test_an_environment_that_cannot_be_used_is_one_line(monkeypatch, capsys):
    from experiments import entry

    def refuse():
        raise ValueError("the cache cannot be written")

    monkeypatch.setattr(entry, "prepare_environment", refuse)
    assert entry.run("some", Options, lambda _: pytest.fail("work has started"), None) == 2
    assert capsys.readouterr().err == "some: error: the cache cannot be written\n"


def record_grey(recording, config):
    """Replaces `record`: the toys' expert does not succeed."""
    video = config.video
    if not recording.path.exists():
        write_pictures(recording.path, np.full((video.n_frames, video.size, video.size, 3), 90, np.uint8))


@pytest.fixture
def toy_scale(tiny_config, tmp_path, monkeypatch):
    """A scale of a few operations: 16 steps instead of 128, the toys, and an encoder that reads the figures' words."""
    words = ["robot", "closing", "green", "drawer", "red", "button"]
    tokenizer = WordTokenizer({word: i for i, word in enumerate(words, start=1)})
    save_encoder(tmp_path / "encoder", tiny.make_encoder(tokenizer=tokenizer))
    base = dataclasses.replace(
        tiny_config, encoder=str(tmp_path / "encoder"), seeds=2, n_envs=2, micro_batch=None, eval_every=1,
        total_env_steps=2 * 2 * tiny_config.video.episode_length,
    )  # fmt: skip
    scale = dataclasses.replace(scales.smoke_scale(), base=base)
    monkeypatch.setitem(scales.SCALES, "smoke", lambda: scale)
    monkeypatch.setattr(train, "policy_video", lambda run, *_: (run.path / "policy.mp4").touch())
    monkeypatch.setattr(figure, "record", record_grey)
    with toy.installed(embed_video=network.embed_video):
        yield scale


def two_jobs(plan):
    edited = fig8.edited(plan)
    return [edited, plan.finetuned(edited, "release")]


@pytest.mark.slow
def test_a_figure_runs_goes_on_and_is_not_run_twice(toy_scale, tmp_path, monkeypatch):
    """It is interrupted in its second run. The first one is of a recording that two sentences edit."""
    chosen = dataclasses.replace(fig8.FIGURE, jobs=two_jobs, draw=lambda *_: None, judge=lambda _: [])
    options, start, started = Options(scale="smoke", out=tmp_path / "out"), train.start, []

    def start_or_die(config, path, *more):
        started.append((path.name, config.spec.minus_text))
        if len(started) == 2:
            raise KeyboardInterrupt
        return start(config, path, *more)

    monkeypatch.setattr(train, "start", start_or_die)
    with pytest.raises(KeyboardInterrupt):
        figure.make(chosen, options)
    table = tmp_path / "out" / "smoke" / "fig8" / "table.md"
    assert "1 of 2 settings are finished" in table.read_text()
    figure.make(chosen, options)
    assert "2 of 2 settings are finished" in table.read_text()
    assert started[0] == ("drawer-close-edited", ("red button",)) and started[1] == started[2] and len(started) == 3
    figure.make(chosen, options)
    assert len(started) == 3
    with pytest.raises(ValueError, match="was made with seeds=2, expected 3"):
        figure.make(chosen, dataclasses.replace(options, seeds=3))


@pytest.mark.slow
def test_the_scale_of_the_paper_starts_and_stops_after_an_iteration(tmp_path, monkeypatch):
    """With random weights of S3D's real layout, and frames of the real size; toys move the arm and embed.

    Meshes are not decimated, because that takes minutes at this size.
    """
    from experiments.entry import run

    words = ["robot", "closing", "green", "drawer"]
    tokenizer = WordTokenizer({word: i for i, word in enumerate(words, start=1)})
    save_encoder(tmp_path / "s3d", tiny.make_encoder(S3D(), tokenizer))
    monkeypatch.setenv("RCJAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(meshes, "_decimate", lambda mesh, _: (np.float32(mesh.corners), np.float32(mesh.normals)))
    step = train.Program.step

    def step_and_stop(self, state):
        os.kill(os.getpid(), signal.SIGTERM)
        return step(self, state)

    monkeypatch.setattr(train.Program, "step", step_and_stop)
    arguments = ["--scale", "paper", "--encoder", str(tmp_path / "s3d"), "--seeds", "1", "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", ["fig3", *arguments])
    with toy.installed():
        code = run("fig3", Options, lambda options: figure.make(fig3.FIGURE, options), None)
    assert code == 128 + signal.SIGTERM
    stopped = RunFolder.open(tmp_path / "out" / "paper" / "runs" / "drawer-close-text")
    assert [row["iteration"] for row in read_metrics(stopped)] == [1]
    config = stopped.config
    assert (config.preset, config.total_env_steps, config.video.size, config.video.n_frames) == (
        "paper",
        5_000_000,
        250,
        32,
    )
    assert (stopped.path / "checkpoints" / "1").is_dir()
