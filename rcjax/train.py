"""Training on the host's side: drives the compiled iteration and records what comes back."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import Signals
from typing import Any

import numpy as np
from tqdm import tqdm

from rcjax.config import TrainConfig
from rcjax.figures import learning_curve
from rcjax.loop import TrainState
from rcjax.program import Program, Row
from rcjax.s3d import Encoder, load_encoder
from rcjax.showcase import demonstration_for_people, policy_video
from rcjax.storage import Checkpoints, Metrics, RunFolder, read_metrics, refuse_existing
from rcjax.taskspec import EXPERT, embed_spec, expert_clip, given_clip, require_vocabulary
from rcjax.world import World, build_world, calibrated_encoder

Say = Callable[[str], None]


RANDOM_ENCODER_NOTICE = (
    "No converted S3D weights were named (--encoder), so S3D is randomly initialised: such a reward can guide, "
    "but it does not understand. How to convert the published weights: python -m weights_convert --help"
)


class Stopped(Exception):
    """Training ended before its last iteration, by a signal or a value that is not finite; the run can be resumed."""

    def __init__(self, message: str, exit_code: int):
        super().__init__(message)
        self.exit_code = exit_code


def start(config: TrainConfig, path: Path, say: Say = print) -> RunFolder:
    """Trains a new run into `path`. Raises ValueError on bad input before anything is written."""
    refuse_existing(path)
    encoder = None if config.encoder is None else load_encoder(config.encoder)
    if config.spec.text is not None:
        require_vocabulary(config.spec.text, encoder)
    clip = given_clip(config.spec, config.video)
    world = build_world(config)
    if config.spec.video == EXPERT:
        say(f"Recording an episode of {config.env.task}'s expert policy as the demonstration ...")
        clip = expert_clip(world.env, world.train_params, world.scene, config.video)
    if encoder is None:
        say(RANDOM_ENCODER_NOTICE)
        encoder = calibrated_encoder(config, world)
    target = embed_spec(config.spec, clip, encoder, config.video)
    shown = demonstration_for_people(config.spec, config.video, world.env, world.train_params)
    run = RunFolder.create(path, config, np.asarray(target), encoder, shown)
    return train(run, world, encoder, say)


def resume(path: Path, say: Say = print) -> RunFolder:
    """Continues a run from its newest checkpoint, to the same metrics as if it had never stopped."""
    run = RunFolder.open(path)
    return train(run, build_world(run.config), run.encoder(), say)


def train(run: RunFolder, world: World, encoder: Encoder, say: Say = print) -> RunFolder:
    """From the run's newest checkpoint (or the beginning) to its last iteration, then the final evaluation.

    Raises Stopped on Ctrl-C, SIGTERM or a reward that is not finite; the run can then be resumed.
    """
    config = run.config
    program = Program(config, world, encoder, run.target())
    with Checkpoints(run) as checkpoints:
        state = program.state if checkpoints.latest() is None else checkpoints.restore(program.state)
        say(f"Compiling ({config.n_envs} environments, {config.video.size}x{config.video.size} frames) ...")
        begun = time.perf_counter()
        _ = program.compiled
        say(f"Compiled in {time.perf_counter() - begun:.0f} s; training {config.env.task} in {run.path}.")
        with Metrics(run, int(state.iteration)) as metrics, stop_on_signals() as stop:
            try:
                state = run_iterations(program, state, checkpoints, metrics, stop)
            finally:
                learning_curve(read_metrics(run), run.path / "curve.png", title_of(config))
    finish(run, program, state, say)
    return run


def run_iterations(
    program: Program, state: TrainState, checkpoints: Checkpoints, metrics: Metrics, stop: "StopRequest"
) -> TrainState:
    config, last = program.config, program.config.n_iterations
    steps = config.steps_per_iteration
    with tqdm(total=last * steps, initial=int(state.iteration) * steps, unit="step", unit_scale=True) as bar:
        for iteration in range(int(state.iteration) + 1, last + 1):
            begun = time.perf_counter()
            following, row, _ = program.step(state)
            row = {"iteration": iteration, "env_steps": iteration * steps} | row
            if row["nonfinite_reward"]:
                raise Stopped(
                    f"iteration {iteration}: {row['nonfinite_reward']:.0f} video rewards are not finite; "
                    f"the last good state is iteration {int(state.iteration)}.", exit_code=1,
                )  # fmt: skip
            state = following
            if iteration == last or (config.eval_every and iteration % config.eval_every == 0):
                row |= program.evaluate(state)[0]
            metrics.write(row | {"seconds": time.perf_counter() - begun})
            show_progress(bar, row, steps)
            if iteration == last or iteration % config.checkpoint_every == 0 or stop.by:
                checkpoints.save(iteration, state)
            if stop.by and iteration < last:
                raise Stopped(
                    f"stopped after iteration {iteration} of {last} by {stop.by.name}",
                    128 + stop.by.value,
                )
    return state


def show_progress(bar: tqdm, row: Row, steps: int) -> None:
    shown = {"reward": "video_reward", "return": "true_return", "success": "success_rate"}
    if row["diverged_physics"]:
        shown["diverged steps"] = "diverged_physics"
    bar.set_postfix({label: f"{row[name]:.3g}" for label, name in shown.items()}, refresh=False)
    bar.update(steps)
    if "eval_success_rate" in row:
        bar.write(
            f"{row['env_steps']:>10,.0f} steps   video reward {row['video_reward']:8.4g}   "
            f"true return {row['true_return']:7.1f}   success {row['success_rate']:4.0%}   |   policy's mean: "
            f"video reward {row['eval_video_reward']:8.4g}   true return {row['eval_true_return']:7.1f}   "
            f"success {row['eval_success_rate']:4.0%}"
        )


def finish(run: RunFolder, program: Program, state: TrainState, say: Say) -> None:
    """The final evaluation's numbers and the policy's video beside the demonstration."""
    row, judged = program.evaluate(state)
    policy_video(run, program.world, judged)
    say(
        f"Success rate {row['eval_success_rate']:.0%}, true return {row['eval_true_return']:.1f}, video reward "
        f"{row['eval_video_reward']:.4g} over {program.config.n_envs} episodes of the policy's mean.\n"
        f"Written to {run.path}: metrics.jsonl, curve.png, policy.mp4, checkpoints."
    )


def title_of(config: TrainConfig) -> str:
    demonstration = config.spec.text or f"video {Path(config.spec.video or '').name}"
    encoder = "randomly initialised S3D" if config.encoder is None else "S3D"
    return f"{config.env.task} from “{demonstration}”, {encoder}, seed {config.seed}"


class StopRequest:
    by: Signals | None = None


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """The first Ctrl-C or SIGTERM asks training to stop after its iteration; a second Ctrl-C interrupts at once."""
    request = StopRequest()

    def ask(number: int, _: Any) -> None:
        if request.by is not None:
            raise KeyboardInterrupt
        request.by = Signals(number)
        tqdm.write(f"{Signals(number).name}: stopping after this iteration ...")

    previous = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
