"""Training on the host's side: drives the compiled iteration and records what comes back."""

import functools
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from rcjax.calibration import calibrated_encoder
from rcjax.checkpoints import (
    Checkpoints,
    checkpoints_path,
    newest_intact,
    read_intact,
    refuse_misfit,
    restored,
    set_aside,
)
from rcjax.config import EXPERT, TrainConfig
from rcjax.demonstration import expert_clip, given_clip
from rcjax.devices import is_writer, of_first_process, wait_for_all
from rcjax.figures import learning_curve
from rcjax.files import require_writable_folder, said_of
from rcjax.lock import hold
from rcjax.loop import ScoredEpisodes, TrainState, state_shapes
from rcjax.program import NotFinite, Program, Rows, as_rows, refuse_nonfinite, require_machine
from rcjax.recorder import Recorder
from rcjax.report import describe_result, describe_work, plot_title
from rcjax.s3d import Encoder, load_encoder
from rcjax.showcase import expert_video, given_demonstration, policy_video
from rcjax.stopping import Stopped, StopRequest, stop_on_signals
from rcjax.storage import RunFolder, read_metrics, refuse_existing, require_room
from rcjax.taskspec import embed_spec, require_vocabulary
from rcjax.world import World, build_world

Log = Callable[[str], None]
Evaluation = tuple[Rows, ScoredEpisodes]


RANDOM_ENCODER_NOTICE = (
    "No converted S3D weights were named (--encoder), so S3D is randomly initialised: such a reward can guide, "
    "but it does not understand. How to convert the published weights: python -m weights_convert --help"
)


def start(config: TrainConfig, path: Path, log: Log = print, devices: int | None = None) -> RunFolder:
    """Trains a new run into `path`, on `devices` of the devices there are (None: all that can share it evenly).

    Of many processes the first one makes the folder, which all of them have to see. Raises ValueError on bad input
    before anything is written.
    """
    refuse_existing(path)
    require_machine(config, devices)
    if is_writer():
        require_room(path)
    wait_for_all("the run's folder may be made")
    prepared: list[tuple[RunFolder, World, Encoder]] = []

    def make() -> int:
        with hold(path.with_name(f".{path.name}.lock"), f"{path} is being made", log):
            refuse_existing(path)
            prepared.append(prepare(config, path, log))
        return 0

    of_first_process(make, "the run's folder is made")
    if not prepared:
        return resume(path, log, devices)
    run, world, encoder = prepared[0]
    with claimed(run, log) as iteration:
        return train(run, world, encoder, log, devices, iteration)


def prepare(config: TrainConfig, path: Path, log: Log) -> tuple[RunFolder, World, Encoder]:
    """The run's folder with its encoder, demonstration and target. Raises ValueError before it is made."""
    encoder = None if config.encoder is None else load_encoder(config.encoder)
    if config.spec.text is not None:
        require_vocabulary(config.spec.text, encoder)
    clip = given_clip(config.spec, config.video)
    world = build_world(config)
    if config.spec.video == EXPERT:
        log(f"Recording an episode of {config.env.task}'s expert policy as the demonstration ...")
        clip = expert_clip(world.env, world.train_params, world.scene, config.video)
    if encoder is None:
        log(RANDOM_ENCODER_NOTICE)
        encoder = calibrated_encoder(config, world)
    target = embed_spec(config.spec, clip, encoder, config.video)
    shown = given_demonstration(config.spec, config.video)
    return RunFolder.create(path, config, np.asarray(target), encoder, shown), world, encoder


def resume(path: Path, log: Log = print, devices: int | None = None) -> RunFolder:
    """Continues a run from its newest checkpoint, to the same metrics as if it had never stopped.

    It may go on with another number of devices: then from the same state, with sums in another order. Their rounding
    takes edges over the centres of pixels, a pixel changes a video reward, and learning amplifies that from iteration
    to iteration. Raises ValueError if another process trains the run, or if its folder is damaged; newer checkpoints
    that are damaged, while an older one is intact, are said and set aside.
    """
    run = RunFolder.open(path)
    require_machine(run.config, devices)
    if is_writer():
        require_writable_folder(path, room=1 << 20, way_out="make it writable")
    with claimed(run, log) as iteration:
        encoder = run.encoder()
        return train(run, build_world(run.config), encoder, log, devices, iteration)


@contextmanager
def claimed(run: RunFolder, log: Log) -> Iterator[int]:
    """Keeps other processes from training the run, and gives the iteration of the checkpoint to go on from (0: none).

    The first of many processes decides, for all of them.
    """
    with ExitStack() as stack:

        def claim() -> int:
            stack.enter_context(hold(run.path / ".lock", f"{run.path} is being trained", log))
            _ = run.target(), read_metrics(run)  # damaged ones are refused before any work
            newest = newest_intact(run, log)
            iteration = 0 if newest is None else newest[0]
            set_aside(run, iteration)
            return iteration

        yield of_first_process(claim, "the run is claimed")


def stops_where_unwritable(function: Callable[..., RunFolder]) -> Callable[..., RunFolder]:
    """`function(run, ...)`, but a full disk and the like stop the run: it can go on from its newest checkpoint."""

    @functools.wraps(function)
    def guarded(run: RunFolder, *arguments: Any, **options: Any) -> RunFolder:
        try:
            return function(run, *arguments, **options)
        except BrokenPipeError:  # nobody reads what is printed
            raise
        except OSError as error:
            reason = said_of(error, "make it writable").removesuffix(".")
            raise Stopped(
                f"the run in {run.path} could not be written ({reason}); then continue it from its newest checkpoint "
                f"with --resume {run.path}",
                exit_code=2,
            ) from error

    return guarded


@stops_where_unwritable
def train(
    run: RunFolder, world: World, encoder: Encoder, log: Log = print, devices: int | None = None, iteration: int = 0
) -> RunFolder:
    """From the run's checkpoint of `iteration` (0: the beginning) to its last iteration, then the final evaluation.

    Raises Stopped on Ctrl-C, SIGTERM, numbers that are not finite or a disk that is full; the run can then be
    resumed.
    """
    config, log = run.config, log if is_writer() else _silent
    stored = read_intact(checkpoints_path(run) / str(iteration)) if iteration else None
    if stored is not None:
        refuse_misfit(run, iteration, stored, state_shapes(config, world.env))
    with in_background(draw_demonstration, run, world, log) if is_writer() else nullcontext():
        program = Program(config, world, encoder, run.target(), devices)
        wait_for_all("everyone has the run")  # what follows has the processes talk, and they lose patience soon
        with Checkpoints(run) as checkpoints:
            state = program.initial_state()
            if stored is not None:
                state = restored(stored, state)
            compile_for(program, run, log)
            with Recorder(run, int(state.iteration)) as recorder, stop_on_signals() as stop:
                try:
                    state, evaluation = run_iterations(program, state, checkpoints, recorder, stop)
                finally:
                    rows = read_metrics(run) if is_writer() else []
                    if rows:  # none where the first iteration failed
                        learning_curve(rows, run.path / "curve.png", plot_title(config))
    wait_for_all("the demonstration is drawn")
    finish(run, program, evaluation or evaluate(program, state)[1:], log)
    return run


@contextmanager
def in_background(work: Callable[..., object], *arguments: Any) -> Iterator[None]:
    """Does `work` beside the block, in a thread, and waits for it at the block's end; its error is raised there."""
    with ThreadPoolExecutor(1) as thread:
        done = thread.submit(work, *arguments)
        yield
        done.result()


def draw_demonstration(run: RunFolder, world: World, log: Log) -> None:
    """The expert's video for people. Training does not need it, so that no failure to make it ends a run."""
    try:
        expert_video(run, world)
    except Exception as error:
        log(f"No demonstration.mp4 of the expert could be made ({error}); training goes on without it.")


def compile_for(program: Program, run: RunFolder, log: Log) -> None:
    log(f"Compiling ({describe_work(program)}) ...")
    begun = time.perf_counter()
    _ = program.compiled
    wait_for_all("everyone has compiled")
    log(f"Compiled in {time.perf_counter() - begun:.0f} s; training {run.config.env.task} in {run.path}.")


def run_iterations(
    program: Program, state: TrainState, checkpoints: Checkpoints, recorder: Recorder, stop: StopRequest
) -> tuple[TrainState, Evaluation | None]:
    """Iterates to the end; the last iteration's evaluation, unless there was none left to do.

    An iteration's metrics are read while the next one runs, unless something else is due.
    """
    config, last = program.config, program.config.n_iterations
    unread: tuple[int, Any] | None = None
    evaluation: Evaluation | None = None
    for iteration in range(int(state.iteration) + 1, last + 1):
        state, metrics, _ = program.step(state)
        if unread is not None:
            rows = as_rows(unread[1])
            stop_at_nonfinite(unread[0], rows, state, checkpoints)
            recorder.write(unread[0], rows)
        unread = iteration, metrics
        stopping = stop.agreed()
        evaluating = iteration == last or (config.eval_every > 0 and iteration % config.eval_every == 0)
        saving = iteration == last or iteration % config.checkpoint_every == 0 or stopping
        if evaluating or saving:
            rows, unread = as_rows(metrics), None
            stop_at_nonfinite(iteration, rows, state, checkpoints)
            if evaluating:
                state, evaluated, scored = evaluate(program, state)
                evaluation = (evaluated, scored) if iteration == last else None  # it holds device memory
                rows = [row | more for row, more in zip(rows, evaluated, strict=True)]
            recorder.write(iteration, rows)
        if saving:
            checkpoints.save(iteration, state)
        if stopping and iteration < last:
            assert stop.by is not None
            raise Stopped(f"stopped after iteration {iteration} of {last} by {stop.by.name}", 128 + stop.by.value)
    return state, evaluation


def stop_at_nonfinite(iteration: int, rows: Rows, state: TrainState, checkpoints: Checkpoints) -> None:
    """Raises Stopped if the iteration's numbers are not all finite.

    The compiled iteration, and any that was begun after it, has then left the state as it was: that is saved.
    """
    try:
        refuse_nonfinite(rows, f"iteration {iteration}")
    except NotFinite as error:
        good = int(state.iteration)
        if good:
            checkpoints.save(good, state)
        left = f"iteration {good}, the last good one, is saved" if good else "there is no good iteration to save"
        raise Stopped(f"{error}; {left}.", exit_code=1) from error


def evaluate(program: Program, state: TrainState) -> tuple[TrainState, Rows, ScoredEpisodes]:
    """`Program.evaluate`. Raises Stopped if the evaluation's numbers are not all finite."""
    try:
        return program.evaluate(state)
    except NotFinite as error:
        raise Stopped(f"{error}; the checkpoints before it stay.", exit_code=1) from error


def finish(run: RunFolder, program: Program, evaluation: Evaluation, log: Log) -> None:
    """Draws the policy's video beside the demonstration, and says the final evaluation's numbers."""
    rows, scored = evaluation
    poses, video_reward = program.first_episode(scored)
    if is_writer():
        policy_video(run, program.world, poses, video_reward)
    log(describe_result(run, rows))


def _silent(_: str) -> None:
    pass
