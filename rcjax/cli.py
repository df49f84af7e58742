"""The command line: `rcjax train | eval | reward | record`.

Bad input ends in one line on standard error and exit code 2, with nothing written.
"""

import contextlib
import dataclasses
import io
import itertools
import os
import re
import sys
from pathlib import Path
from typing import Annotated, Any

import jax
import tyro

from rcjax.config import EXPERT, TaskSpec, TrainConfig, VideoConfig, preset
from rcjax.devices import join_processes
from rcjax.files import cache_folder
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
MACHINE_OPTIONS = ("--devices", "--distributed", "--coordinator", "--processes", "--process-id")


def main(arguments: list[str] | None = None) -> int:
    """Runs one command and returns the process's exit code."""
    try:
        command = parse(sys.argv[1:] if arguments is None else arguments)
        use_compilation_cache()
        return HANDLERS[type(command)](command)
    except ValueError as error:
        print(f"rcjax: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("rcjax: interrupted", file=sys.stderr)
        return 130


def parse(arguments: list[str]) -> Command:
    """The command that the arguments name. Raises ValueError on bad ones, in one line; exits for --help."""
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
            return tyro.cli(
                kind, args=arguments, prog="rcjax", description=__doc__, config=(tyro.conf.OmitArgPrefixes,)
            )
    except SystemExit as exit:
        if not exit.code:
            raise
        raise ValueError(_one_line(complaint.getvalue())) from None


def _refuse_options_beside_resume(arguments: list[str]) -> None:
    given = {argument.split("=")[0] for argument in arguments if argument.startswith("--")}
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
    """The parser's message without the frame it draws around it."""
    lines = [re.sub(r"^\s*│|│\s*$", "", line).strip() for line in box.splitlines()]
    message = [line for line in itertools.takewhile(lambda line: "──────" not in line, lines[1:]) if line]
    return re.sub(r"Error parsing __tyro-dummy-inner__\S*: ", "", " ".join(message)) + " (see rcjax --help)"


def train_command(command: Train) -> int:
    if command.distributed:
        join_processes(command.coordinator, command.processes, command.process_id)
    elif (command.coordinator, command.processes, command.process_id) != (None, None, None):
        raise ValueError("--coordinator, --processes and --process-id need --distributed.")
    from rcjax import train

    try:
        if command.resume is not None:
            train.resume(command.resume, devices=command.devices)
        else:
            config = training_config(command)
            name = command.name or f"{config.env.task}-{config.preset}-{config.seeds_text.replace(' ', '')}"
            train.start(config, command.runs / name, devices=command.devices)
    except train.Stopped as stopped:
        print(f"rcjax: {stopped}", file=sys.stderr)
        return stopped.exit_code
    return 0


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
        env=dataclasses.replace(config.env, task=envs.canonical_name(config.env.task)),
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

    require_writable(command.out)
    if command.run is not None:
        showcase.record_policy(RunFolder.open(command.run), command.out)
    else:
        showcase.record_expert(envs.canonical_name(command.task), command.episode_length, command.out)
    print(f"Written to {command.out}")
    return 0


def use_compilation_cache() -> None:
    """Compiled programs are kept between runs, unless JAX_COMPILATION_CACHE_DIR already says where."""
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(cache_folder() / "xla"))


HANDLERS: dict[type, Any] = {
    Train: train_command, Eval: eval_command, Reward: reward_command, Record: record_command,
}  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
