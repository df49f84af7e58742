"""The command line: `rcjax train | eval | reward | record`.

Bad input ends in one line on standard error and exit code 2, with nothing written.
"""

import contextlib
import dataclasses
import io
import itertools
import re
import signal
import sys
from pathlib import Path
from typing import Annotated, Any

try:
    import jax
except ValueError as error:  # of a variable such as JAX_ENABLE_X64 that has a value which JAX does not take
    print(f"rcjax: error: {error}; correct the variable or unset it.", file=sys.stderr)
    raise SystemExit(2) from None
import tyro

from rcjax.checks import shown
from rcjax.config import EXPERT, TaskSpec, TrainConfig, VideoConfig, preset
from rcjax.devices import join_processes
from rcjax.files import require_writable_folder, said_of
from rcjax.startup import discard_output, open_closed_streams, require_devices, settle_environment
from rcjax.video_io import require_writable

# What a command needs is imported by it: environments compile as they are imported, and before that a process has to
# join the others (--distributed).


@dataclasses.dataclass(frozen=True)
class Train:
    """Learn a task from one demonstration: a sentence or a video is the only reward.

    With no options: drawer-close from an episode of Metaworld's expert, preset `demo`. Writes runs/<name>/ with
    config.json, metrics.jsonl, TensorBoard events, checkpoints, curve.png and policy.mp4. Ctrl-C stops after the
    iteration under way; --resume runs/<name> continues.
    """

    config: Annotated[TrainConfig, tyro.conf.arg(name="")]
    text: str | None = None
    """The demonstration as a sentence, e.g. "robot closing green drawer" (needs --encoder)."""
    video: str | None = None
    """The demonstration as a GIF, MP4 or folder of frames; `expert`: an episode of Metaworld's expert policy."""
    name: str | None = None
    """Name of the run's folder; default <task>-<preset>-seed<seed>."""
    runs: Path = Path("runs")
    """Where run folders are."""
    resume: Path | None = None
    """Continue this run, with its own config; of other options only those that follow may be given."""
    devices: int | None = None
    """How many of the devices to use; default: as many of all there are as can share the run evenly."""
    distributed: bool = False
    """Run as one of many processes (hosts), started alike; SLURM, Open MPI, GKE and TPU pods are detected. All of them
    must see the run's folder."""
    coordinator: str | None = None
    """With --distributed, where nothing is detected: HOST:PORT of the first process."""
    processes: int | None = None
    """With --distributed, where nothing is detected: how many processes there are."""
    process_id: int | None = None
    """With --distributed, where nothing is detected: which one this is, from 0."""


@dataclasses.dataclass(frozen=True)
class Eval:
    """Evaluate a run's newest policy: deterministic episodes from starts it did not train on."""

    run: Annotated[Path, tyro.conf.Positional]
    """The run's folder."""


@dataclasses.dataclass(frozen=True)
class Reward:
    """Print the similarity of a video with a task specification: what an episode that looks like it is paid."""

    video: Path
    """The video that is judged: GIF, MP4 or a folder of frames."""
    encoder: Path
    """Converted S3D weights, or the `encoder` folder of a run."""
    text: str | None = None
    """The task as a sentence."""
    demonstration: str | None = None
    """The task as a video: GIF, MP4 or a folder of frames."""
    size: int = 250
    """Side of the frames that S3D sees, pixels."""
    frames: int = 32
    """Number of frames that S3D sees."""


@dataclasses.dataclass(frozen=True)
class Record:
    """Record one episode to GIF or MP4: of Metaworld's expert policy, or (--run) of a run's policy."""

    out: Path
    """The file to write, .gif or .mp4."""
    task: str = "drawer-close"
    run: Path | None = None
    """Record this run's newest policy instead of the expert."""
    episode_length: int = 128
    """Control steps of the expert's episode."""


Command = Train | Eval | Reward | Record
LONGEST_NAME = 200  # bytes; file systems take 255, of which temporary names need some
MACHINE_OPTIONS = ("--devices", "--distributed", "--coordinator", "--processes", "--process-id")


def main(arguments: list[str] | None = None) -> int:
    """Runs one command and returns the process's exit code."""
    open_closed_streams()
    try:
        code = run_command(parse(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()  # here, where an error can be said, and not as the process ends
        return code
    except BrokenPipeError:  # as of `rcjax train | head`: nobody reads on
        discard_output()
        return 128 + signal.SIGPIPE
    except ValueError as error:
        complain(str(error))
    except OSError as error:
        complain(said_of(error, "name a place that can be read and written"))
    except MemoryError:
        complain("there is not enough memory; lower --n-envs, --seeds, --size or --episode-length.")
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        complain(f"{str(error).splitlines()[0]}; lower --micro-batch, --n-envs, --seeds or --size.")
    except KeyboardInterrupt:
        complain("interrupted", label="")
        return 130
    return 2


def complain(message: str, label: str = "error: ") -> None:
    with contextlib.suppress(OSError):  # standard error may be closed or full
        print(f"rcjax: {label}{' '.join(message.split())}", file=sys.stderr)


def run_command(command: Command) -> int:
    """Bad input that is cheap to see is refused first, before anything is imported or started."""
    check_paths(command)
    settle_environment()
    if isinstance(command, Train):
        join_others(command)
    require_devices()
    return HANDLERS[type(command)](command)


def parse(arguments: list[str]) -> Command:
    """The command that the arguments name. Raises ValueError on bad ones, in one line; exits for --help."""
    if any(not argument.strip() or re.fullmatch(r"--[^=]*=\s*", argument) for argument in arguments):
        raise ValueError(f"an argument is empty, in: {shown(arguments)}; give it a value or leave the option out.")
    _refuse_options_beside_resume(arguments)
    default = Train(config=preset(_option(arguments, "--preset") or "demo"))
    kind = (
        Annotated[Train, tyro.conf.subcommand("train", default=default)]
        | Annotated[Eval, tyro.conf.subcommand("eval")]
        | Annotated[Reward, tyro.conf.subcommand("reward")]
        | Annotated[Record, tyro.conf.subcommand("record")]
    )
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            command = tyro.cli(
                kind, args=arguments, prog="rcjax", description=__doc__, config=(tyro.conf.OmitArgPrefixes,)
            )
        return _with_goal_by_name(command, arguments)
    except SystemExit as exit:
        if not exit.code:
            raise
        raise ValueError(_one_line(complaint.getvalue())) from None


def _with_goal_by_name(command: Command, arguments: list[str]) -> Command:
    """`--task drawer-close-v3-goal-observable` shows the goal, unless an option says that it is hidden."""
    if not isinstance(command, Train) or {"--goal-hidden", "--no-goal-hidden"} & _options(arguments):
        return command
    env = command.config.env
    if not env.task.strip().lower().replace("_", "-").endswith("-goal-observable"):
        return command
    config = dataclasses.replace(command.config, env=dataclasses.replace(env, goal_hidden=False))
    return dataclasses.replace(command, config=config)


def _options(arguments: list[str]) -> set[str]:
    """The options that are given, as --help spells them."""
    return {argument.split("=")[0].replace("_", "-") for argument in arguments if argument.startswith("--")}


def _refuse_options_beside_resume(arguments: list[str]) -> None:
    given = _options(arguments)
    refused = sorted(given - {"--resume", *MACHINE_OPTIONS}) if "--resume" in given else []
    if refused:
        raise ValueError(
            f"--resume does not go with {', '.join(refused)}: a run continues with the config in its folder; only "
            f"{', '.join(MACHINE_OPTIONS)} may be given."
        )


def _option(arguments: list[str], name: str) -> str | None:
    """The value of `--name value` or `--name=value`, before the parser has run: presets decide its defaults."""
    for i, argument in enumerate(arguments):
        if argument == name and i + 1 < len(arguments):
            return arguments[i + 1]
        if argument.startswith(f"{name}="):
            return argument.split("=", 1)[1]
    return None


def _one_line(box: str) -> str:
    """The parser's message without the frame it draws around it, which is of ASCII where the terminal's text is."""
    lines = [re.sub(r"^\s*[│|]|[│|]\s*$", "", line).strip() for line in box.splitlines()]
    rules = [i for i, line in enumerate(lines) if re.search(r"[─-]{6}", line)]
    first = rules[0] + 1 if rules else 0
    message = itertools.takewhile(lambda line: not re.search(r"[─-]{6}", line), lines[first:])
    text = " ".join(line for line in message if line)
    return re.sub(r"Error parsing __tyro-dummy-inner__\S*: ", "", text) + " (see rcjax --help)"


def check_paths(command: Command) -> None:
    """Raises ValueError for options that name nothing that can be read or written."""
    for field in dataclasses.fields(command):
        value = getattr(command, field.name)
        if isinstance(value, str | Path):
            require_text(f"--{field.name.replace('_', '-')}", str(value))
    if isinstance(command, Train):
        require_text("--encoder", command.config.encoder or "none")
        if command.name is not None:
            require_name(command.name)
    if isinstance(command, Record):
        require_writable(command.out)
        require_writable_folder(command.out.parent, command.out.name, 1 << 20, "choose another --out")
        if command.out.exists() and not command.out.is_file():
            raise ValueError(f"--out {command.out} is no file that could be replaced; choose another.")


def require_text(option: str, value: str) -> None:
    """Raises ValueError for what is empty or holds bytes that are no text: files and pictures name it."""
    if not value.strip() or not value.replace("\n", " ").replace("\t", " ").isprintable():
        raise ValueError(
            f"{option} {shown(value)} is empty, or has characters that cannot be printed; give plain text."
        )


def require_name(name: str) -> None:
    if name in (".", "..") or not name.isprintable() or Path(name).name != name or len(name.encode()) > LONGEST_NAME:
        raise ValueError(
            f"--name {shown(name)} is no name of a folder: it has a slash, or more than {LONGEST_NAME} bytes; --runs "
            "says where the run's folder is."
        )


def train_command(command: Train) -> int:
    from rcjax import train

    try:
        if command.resume is not None:
            train.resume(command.resume, devices=command.devices)
        else:
            config = training_config(command)
            name = command.name or f"{config.env.task}-{config.preset}-{config.seeds_text.replace(' ', '')}"
            train.start(config, command.runs / name, devices=command.devices)
    except train.Stopped as stopped:
        complain(str(stopped), label="")
        return stopped.exit_code
    return 0


def join_others(command: Train) -> None:
    if command.distributed:
        join_processes(command.coordinator, command.processes, command.process_id)
    elif (command.coordinator, command.processes, command.process_id) != (None, None, None):
        raise ValueError("--coordinator, --processes and --process-id need --distributed.")


def training_config(command: Train) -> TrainConfig:
    """The config with the demonstration that --text or --video names; Metaworld's expert if neither does.

    Paths become absolute, so that the run can be resumed from any folder.
    """
    from rcjax import envs

    config = command.config
    video = EXPERT if command.text is None and command.video is None else command.video
    if video not in (None, EXPERT):
        video = str(Path(video).absolute())
    return dataclasses.replace(
        config,
        spec=TaskSpec(text=command.text, video=video),
        env=dataclasses.replace(
            config.env,
            task=envs.canonical_name(config.env.task),
            goal_hidden=envs.choose_goal_hidden(config.env.task, config.env.goal_hidden),
        ),
        encoder=None if config.encoder is None else str(Path(config.encoder).absolute()),
    )


def eval_command(command: Eval) -> int:
    from rcjax.evaluate import evaluate_run
    from rcjax.storage import RunFolder

    run = RunFolder.open(command.run)
    _, rows, _ = evaluate_run(run)
    if len(rows) > 1:
        print(" " * 24, *(f"{f'seed {run.config.seed + i}':>12}" for i in range(len(rows))))
    for name in rows[0]:
        print(f"{name:>24}", *(f"{row[name]:12.6g}" for row in rows))
    return 0


def reward_command(command: Reward) -> int:
    from rcjax.evaluate import similarity_of_files
    from rcjax.s3d import load_encoder

    spec = TaskSpec(text=command.text, video=command.demonstration)
    video = VideoConfig(size=command.size, episode_length=command.frames, frame_stride=1)
    print(f"{similarity_of_files(command.video, spec, load_encoder(command.encoder), video):.6g}")
    return 0


def record_command(command: Record) -> int:
    from rcjax import envs, showcase
    from rcjax.storage import RunFolder

    if command.run is not None:
        showcase.record_policy(RunFolder.open(command.run), command.out)
    else:
        showcase.record_expert(envs.canonical_name(command.task), command.episode_length, command.out)
    print(f"Written to {command.out}")
    return 0


HANDLERS: dict[type, Any] = {
    Train: train_command, Eval: eval_command, Reward: reward_command, Record: record_command,
}  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
