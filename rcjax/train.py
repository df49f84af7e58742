"""Training, on the host: runs the compiled iteration, and records and saves what it returns."""

import functools
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Concatenate, ParamSpec

import jax

from rcjax.calibration import calibrated_encoder
from rcjax.checkpoints import (
    Checkpoints,
    checkpoints_path,
    load_newest_intact,
    read_checkpoint,
    require_matching_state,
    restore_state,
    set_aside,
)
from rcjax.config import EXPERT, TrainConfig
from rcjax.demonstration import expert_clip, given_clips
from rcjax.devices import is_first_process, run_on_first_process, wait_for_all_processes
from rcjax.encoders import BUNDLED, RANDOM, Encoder, load_encoder
from rcjax.encoders.s3d import S3D
from rcjax.expert_episodes import expert_transitions
from rcjax.figures import learning_curve
from rcjax.files import describe_os_error, require_writable_folder
from rcjax.finetuning import load_pretrained
from rcjax.lock import hold_lock
from rcjax.loop import ScoredEpisodes, TrainState, state_shapes
from rcjax.program import NotFinite, Program, Rows, as_rows, refuse_nonfinite, require_machine
from rcjax.recorder import Recorder
from rcjax.report import describe_result, describe_work, plot_title
from rcjax.showcase import expert_video, given_demonstration, policy_video
from rcjax.stopping import Stopped, StopRequest, stop_on_signals
from rcjax.storage import RunFolder, read_metrics, require_disk_space, require_new_path
from rcjax.taskspec import describe_unknown_words, embed_spec, require_reader
from rcjax.world import World, build_world

Arguments = ParamSpec("Arguments")
Log = Callable[[str], None]
Evaluation = tuple[Rows, ScoredEpisodes]


RANDOM_ENCODER_NOTICE = (
    "S3D is randomly initialised (--encoder random): its reward can tell episodes apart, but not what they show."
)
SMALL_ENCODER_NOTICE = (
    "The encoder small knows Metaworld's simulated scenes alone; it stands in for the released S3D and is no evidence "
    "about it. How to convert the published weights: python -m weights_convert --help"
)


def start(config: TrainConfig, path: Path, log: Log = print, devices: int | None = None) -> RunFolder:
    """Trains a new run.

    With several processes, the first one makes the run's folder. It must be on a file system that all of them share.

    Args:
        config: The run's configuration.
        path: The folder to make.
        log: Takes messages for the user.
        devices: How many devices to use; None uses as many as can share the work evenly.

    Returns:
        The run's folder.

    Raises:
        ValueError: The input is bad; the run has not been written.
        Stopped: See `train`.
    """
    require_new_path(path)
    require_machine(config, devices)
    if is_first_process():
        require_disk_space(path)
    wait_for_all_processes("the run's folder may be made")
    prepared: list[tuple[RunFolder, World, Encoder | None]] = []

    def make() -> int:
        with hold_lock(path.with_name(f".{path.name}.lock"), f"{path} is being made", log):
            require_new_path(path)
            prepared.append(prepare(config, path, log))
        return 0

    run_on_first_process(make, "the run's folder is made")
    if not prepared:
        return resume(path, log, devices)
    run, world, encoder = prepared[0]
    with claimed(run, log) as iteration:
        return train(run, world, encoder, log, devices, iteration)


def prepare(config: TrainConfig, path: Path, log: Log) -> tuple[RunFolder, World, Encoder | None]:
    """Makes the run's folder with its demonstration, and the encoder if the reward looks at videos.

    Raises ValueError for bad input, before the run's folder is made.
    """
    if config.init_from is not None:
        load_pretrained(config, log)
    if config.reward == "video":
        return prepare_video_reward(config, path, log)
    world = build_world(config)
    demonstration = None
    if config.uses_expert_episodes:
        log(f"Recording {config.expert_episodes} episode(s) of {config.env.task}'s expert policy to learn from ...")
        demonstration = expert_transitions(world, config)
    return RunFolder.create(path, config, demonstration, encoder=None, shown=None), world, None


def prepare_video_reward(config: TrainConfig, path: Path, log: Log) -> tuple[RunFolder, World, Encoder]:
    """Does what `prepare` does for a reward that looks at videos."""
    encoder = named_encoder(config)
    network = S3D() if encoder is None else encoder.network
    network.check_clips(config.video.n_frames, config.video.size, config.video.pixel_scale)
    if config.encoder in BUNDLED:
        log(SMALL_ENCODER_NOTICE)
    for text in config.spec.texts:
        notice = describe_unknown_words(text, require_reader(text, encoder))
        if notice:
            log(notice)
    clips = given_clips(config.spec, config.video)
    world = build_world(config)
    if config.spec.shows_expert:
        log(f"Recording an episode of {config.env.task}'s expert policy as the demonstration ...")
        clips[EXPERT] = expert_clip(world.env, world.train_params, world.scene, config.video)
    if encoder is None:
        log(RANDOM_ENCODER_NOTICE)
        encoder = calibrated_encoder(config, world)
    targets = embed_spec(config.spec, clips, encoder, config.video)
    shown = given_demonstration(config.spec, config.video)
    return RunFolder.create(path, config, targets, encoder, shown), world, encoder


def named_encoder(config: TrainConfig) -> Encoder | None:
    """Returns the encoder that the config names, or None for a random one, which is calibrated in the run's scene.

    Raises ValueError if it names none, or one that cannot be loaded.
    """
    if config.encoder is None:
        raise ValueError(
            f"the preset {config.preset!r} needs the released S3D weights: download and convert them (`python -m "
            "weights_convert --help`) and give their folder with --encoder; or give --encoder small (with --size 64 "
            "--frame-stride 8) or --encoder random."
        )
    return None if config.encoder == RANDOM else load_encoder(config.encoder)


def resume(path: Path, log: Log = print, devices: int | None = None) -> RunFolder:
    """Continues a run from its newest checkpoint, with the same metrics as if it had never stopped.

    With another number of devices it continues from the same state, but sums are computed in another order. Their
    different rounding can move a triangle's edge across a pixel's centre; the changed pixel changes a video reward, and
    learning amplifies the difference from iteration to iteration.

    If the newest checkpoint is damaged and an older one is intact, the run continues from the older one: the damaged
    one is reported and set aside. Raises ValueError if another process trains the run, or if its folder is damaged.
    """
    run = RunFolder.open(path)
    require_machine(run.config, devices)
    if is_first_process():
        require_writable_folder(path, room=1 << 20, hint="make it writable")
    with claimed(run, log) as iteration:
        encoder = run.encoder()
        return train(run, build_world(run.config), encoder, log, devices, iteration)


@contextmanager
def claimed(run: RunFolder, log: Log) -> Iterator[int]:
    """Keeps other processes from training the run, and yields the iteration to continue from (0 without a checkpoint).

    The first of several processes decides for all of them.
    """
    with ExitStack() as stack:

        def claim() -> int:
            stack.enter_context(hold_lock(run.path / ".lock", f"{run.path} is being trained", log))
            _ = run.demonstration(), read_metrics(run)  # damaged ones are refused before any work
            newest = load_newest_intact(run, log)
            iteration = 0 if newest is None else newest[0]
            set_aside(run, iteration)
            return iteration

        yield run_on_first_process(claim, "the run is claimed")


def stops_where_unwritable(
    function: Callable[Concatenate[RunFolder, Arguments], RunFolder],
) -> Callable[Concatenate[RunFolder, Arguments], RunFolder]:
    """Makes `function(run, ...)` raise Stopped where the run's folder cannot be written, as when the disk is full."""

    @functools.wraps(function)
    def guarded(run: RunFolder, *arguments: Arguments.args, **options: Arguments.kwargs) -> RunFolder:
        try:
            return function(run, *arguments, **options)
        except BrokenPipeError:  # nobody reads what is printed
            raise
        except OSError as error:
            reason = describe_os_error(error, "make it writable").removesuffix(".")
            raise Stopped(
                f"the run in {run.path} could not be written ({reason}); then continue it from its newest checkpoint "
                f"with --resume {run.path}",
                exit_code=2,
            ) from error

    return guarded


@stops_where_unwritable
def train(
    run: RunFolder,
    world: World,
    encoder: Encoder | None,
    log: Log = print,
    devices: int | None = None,
    iteration: int = 0,
) -> RunFolder:
    """Trains from the checkpoint of `iteration` (0: from the beginning) to the last iteration, and evaluates.

    Raises Stopped on Ctrl-C, on SIGTERM, for numbers that are not finite, and if the disk is full. The run can then be
    resumed.
    """
    config, log = run.config, log if is_first_process() else _silent
    saved = checkpoints_path(run) / str(iteration)
    stored = read_checkpoint(saved) if saved.exists() else None
    if stored is not None:
        require_matching_state(run, iteration, stored, state_shapes(config, world.env))
    with in_background(draw_demonstration, run, world, log) if is_first_process() else nullcontext():
        program = Program(config, world, encoder, run.demonstration(), devices)
        # The processes communicate from here on, with short timeouts.
        wait_for_all_processes("all processes have opened the run")
        with Checkpoints(run) as checkpoints:
            state = program.initial_state()
            if stored is not None:
                state = restore_state(stored, state)
            elif config.init_from is not None:
                state = program.begin_from(load_pretrained(config, log), state)
            compile_for(program, run, log)
            with Recorder(run, iteration if stored is not None else None) as recorder, stop_on_signals() as stop:
                try:
                    if stored is None and config.init_from is not None:
                        state = record_beginning(program, state, checkpoints, recorder)
                    state, evaluation = run_iterations(program, state, checkpoints, recorder, stop)
                finally:
                    rows = read_metrics(run) if is_first_process() else []
                    if rows:  # there are none if the first iteration failed
                        learning_curve(rows, run.path / "curve.png", plot_title(config), config.reward)
    wait_for_all_processes("the demonstration is drawn")
    finish(run, program, evaluation or evaluate(program, state)[1:], log)
    if stop.agreed():  # during the last iteration: the run is finished, but what would come after it has to stop
        raise stop.as_stopped(f"finished the last of {config.n_iterations} iterations, and stopped")
    return run


@contextmanager
def in_background(
    work: Callable[Arguments, object], *arguments: Arguments.args, **options: Arguments.kwargs
) -> Iterator[None]:
    """Runs `work` in a thread while the block runs. The end of the block waits for it, and raises its error."""
    with ThreadPoolExecutor(1) as thread:
        done = thread.submit(work, *arguments, **options)
        yield
        done.result()


def draw_demonstration(run: RunFolder, world: World, log: Log) -> None:
    """Writes the expert's video, if the expert is the demonstration. Training goes on where that fails."""
    try:
        expert_video(run, world)
    except Exception as error:
        log(f"No demonstration.mp4 of the expert could be made ({error}); training goes on without it.")


def compile_for(program: Program, run: RunFolder, log: Log) -> None:
    """Compiles the iteration, and reports how long that took."""
    log(f"Compiling ({describe_work(program)}) ...")
    started = time.perf_counter()
    _ = program.compiled
    wait_for_all_processes("all processes have compiled")
    log(f"Compiled in {time.perf_counter() - started:.0f} s; training {run.config.env.task} in {run.path}.")


def record_beginning(program: Program, state: TrainState, checkpoints: Checkpoints, recorder: Recorder) -> TrainState:
    """Evaluates the pretrained policies, records that as iteration 0, and saves the state."""
    state, evaluated, _ = evaluate(program, state)
    recorder.write_beginning(evaluated)
    checkpoints.save(0, state)
    return state


def run_iterations(
    program: Program, state: TrainState, checkpoints: Checkpoints, recorder: Recorder, stop: StopRequest
) -> tuple[TrainState, Evaluation | None]:
    """Runs the remaining iterations, with their evaluations and checkpoints.

    The metrics of an iteration are read while the next one runs, unless an evaluation or a checkpoint is due.

    Returns:
        The last state, and the last iteration's evaluation (None if no iteration was left to run).
    """
    config, last = program.config, program.config.n_iterations
    unread: tuple[int, dict[str, jax.Array]] | None = None
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
                evaluation = (evaluated, scored) if iteration == last else None  # earlier ones would hold device memory
                rows = [row | more for row, more in zip(rows, evaluated, strict=True)]
            recorder.write(iteration, rows)
        if saving:
            checkpoints.save(iteration, state)
        if stopping and iteration < last:
            raise stop.as_stopped(f"stopped after iteration {iteration} of {last}")
    return state, evaluation


def stop_at_nonfinite(iteration: int, rows: Rows, state: TrainState, checkpoints: Checkpoints) -> None:
    """If some of the iteration's numbers are not finite, saves the last good state and raises Stopped.

    In that case the iteration, and one that was started after it, left the state unchanged.
    """
    try:
        refuse_nonfinite(rows, f"iteration {iteration}")
    except NotFinite as error:
        good = int(state.iteration)
        if good:
            checkpoints.save(good, state)
        left = f"iteration {good}, the last good one, is saved" if good else "no iteration was good"
        raise Stopped(f"{error}; {left}.", exit_code=1) from error


def evaluate(program: Program, state: TrainState) -> tuple[TrainState, Rows, ScoredEpisodes]:
    """Calls `Program.evaluate`. Raises Stopped if some of the evaluation's numbers are not finite."""
    try:
        return program.evaluate(state)
    except NotFinite as error:
        raise Stopped(f"{error}; earlier checkpoints are kept.", exit_code=1) from error


def finish(run: RunFolder, program: Program, evaluation: Evaluation, log: Log) -> None:
    """Writes the policy's video, beside the demonstration if that is a video, and reports the final evaluation."""
    rows, scored = evaluation
    poses, reward = program.first_episode(scored)
    if is_first_process():
        policy_video(run, program.world, poses, reward)
    log(describe_result(run, rows))


def _silent(_: str) -> None:
    pass
