"""The command line: `rcjax train | eval | reward | align | record`.

Invalid input ends the program with one line on standard error and exit code 2, before anything is written.
"""

import contextlib
import dataclasses
import io
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

try:
    import jax  # noqa: F401
except ValueError as error:  # a variable such as JAX_ENABLE_X64 has a value that JAX rejects
    print(f"rcjax: error: {error}; correct the variable or unset it.", file=sys.stderr)
    raise SystemExit(2) from None
import tyro

from rcjax.checks import INT32_MAX, require_range, short_repr
from rcjax.config import EXPERT, EnvConfig, TaskSpec, TrainConfig, Which, finetuning, preset, read_config
from rcjax.devices import join_processes
from rcjax.exit_codes import exit_code, print_line
from rcjax.files import require_writable_folder
from rcjax.messages import one_line
from rcjax.startup import prepare_environment, require_devices
from rcjax.video_io import require_writable

# Each command imports the modules that it needs. Importing environments compiles programs, and before that, a process
# of a distributed run has to join the others.

PROGRAM = "rcjax"
DESCRIPTION = """Train robot policies with RoboCLIP, where one demonstration is the only reward.

The options of a command are listed by `rcjax COMMAND --help`."""


@dataclasses.dataclass(frozen=True)
class Train:
    """Learn a task from one demonstration: a sentence or a video is the only reward.

    With --reward, other rewards can be learned from, for comparison.

    Without options, this learns drawer-close from the sentence "robot closing green drawer", with the preset `demo` and
    the encoder that comes with rcjax. It writes the folder runs/<name>/ with config.json, metrics.jsonl, TensorBoard
    events, checkpoints, curve.png and policy.mp4. Ctrl-C stops training after the current iteration, and --resume
    runs/<name> continues it.
    """

    config: Annotated[TrainConfig, tyro.conf.arg(name="")]
    # Use this sentence as the demonstration, e.g. "robot closing green drawer". Without --text and --video, this is the
    # task's own sentence, or the expert's video with --encoder random, which cannot read. May be given several times.
    text: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    # Use this video as the demonstration: a GIF, an MP4, a folder of frames, or the word expert for an episode of
    # the task's expert policy. May be given several times.
    video: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    # Subtract the similarity with this sentence, as in --video press.mp4 --minus-text "red button" --text "green
    # drawer". May be given several times.
    minus_text: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    # Subtract the similarity with this video. May be given several times.
    minus_video: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    # How the similarities with several demonstrations make one reward: their sum (the default), their mean or their
    # maximum.
    combine: Literal["sum", "mean", "max"] | None = None
    # Name of the run's folder; by default <task>-<preset>-seed<seed>, or <task>-<preset>-<reward>-seed<seed> with
    # another reward than that of videos; what is finetuned also has the name of the run that it begins from.
    name: str | None = None
    # Folder in which the run's folder is made.
    runs: Path = Path("runs")
    # Continue the run in this folder with the config that it was started with. The only options that may be given
    # beside it are --devices, --distributed, --coordinator, --processes and --process-id.
    resume: Path | None = None
    # Number of devices to use; by default as many of the available ones as can share the work evenly.
    devices: int | None = None
    # Run as one of several processes, on one or several hosts, that are all started with the same command. SLURM, Open
    # MPI, Kubernetes (GKE) and TPU pods are detected. All processes must see the run's folder.
    distributed: bool = False
    # Address HOST:PORT of the first process; --distributed needs it where nothing is detected.
    coordinator: str | None = None
    # Number of processes; --distributed needs it where nothing is detected.
    processes: int | None = None
    # Index of this process, counted from 0; --distributed needs it where nothing is detected.
    process_id: int | None = None


@dataclasses.dataclass(frozen=True)
class Eval:
    """Evaluate a run's policy: deterministic episodes from starts that it was neither trained nor selected on.

    Prints success, the true return, the return normalised so that doing nothing is 0 and the task's expert policy 1,
    and the reward that was learned from; of several seeds also their interquartile mean and its 95 % interval.
    """

    # Folder of the run.
    run: Annotated[Path, tyro.conf.Positional]
    # Which of the run's policies: the last one; the best by true return, as the paper takes it; or, without the truth,
    # the one with the highest reward in an evaluation, or at the end of the three consecutive evaluations with the
    # highest mean reward (plateau).
    which: Which = "last"
    # Repeat the actions of the expert's episode that the run learned from, whatever is observed, instead of a policy:
    # the control for --reward bc.
    replay: tyro.conf.FlagCreatePairsOff[bool] = False


@dataclasses.dataclass(frozen=True)
class Reward:
    """Print the similarity of a video with demonstrations: the video reward of an episode that looks like the video.

    A demonstration is either a sentence (--text) or a video (--demonstration); each option may be given several times.
    For one demonstration this prints a number, and for several a table, the best first. With --combine, --minus-text
    or --minus-demonstration, all demonstrations are one, as they are for `rcjax train`.
    """

    # Video to compare with the demonstrations: a GIF, an MP4 or a folder of frames.
    video: Path
    # Use this sentence as a demonstration, e.g. "robot closing green drawer".
    text: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    # Use this video as a demonstration: a GIF, an MP4 or a folder of frames.
    demonstration: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    # Subtract the similarity with this sentence. May be given several times.
    minus_text: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    # Subtract the similarity with this video. May be given several times.
    minus_demonstration: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    # Combine all demonstrations into one reward: by the sum, the mean or the maximum of their similarities.
    combine: Literal["sum", "mean", "max"] | None = None
    # Encoder of videos and sentences: small (comes with rcjax), a folder that `python -m weights_convert` wrote, or the
    # folder `encoder` of a run.
    encoder: str = "small"
    # Draw the similarity of growing parts of the video, from its first frame to all of it: above its frames (.png), or
    # growing beside the playing video (.gif or .mp4).
    curve: Path | None = None
    # Print one JSON object with the similarities and, with --curve, the curve.
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    # Side of the square frames that the encoder sees, in pixels; by default what it was made for (64 for small, 250 for
    # S3D, 224 for CLIP).
    size: int | None = None
    # Number of frames that the encoder sees of each video; by default what it was made for (16 for small, 32 for S3D).
    # The default for CLIP, which sees a single frame, is the last one.
    frames: int | None = None


@dataclasses.dataclass(frozen=True)
class Align:
    """Compare episodes of tasks, done better and worse, with demonstrations: which of them would be a good reward?

    Each task gives episodes from its expert's to random motion. Prints and writes their mean similarity with
    each demonstration, and how well the similarity ranks them by their true return: figure 2 of the paper. Without
    options, the paper's seven tasks are compared with their sentences.
    """

    # Metaworld task whose episodes are compared, e.g. drawer-close. May be given several times.
    task: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    # Video to compare beside the tasks: a GIF, an MP4 or a folder of frames. May be given several times.
    video: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    # Use this sentence as a demonstration. Without --text and --demonstration, these are the tasks' own sentences. If
    # there are as many demonstrations (sentences first) as tasks and videos (tasks first), each is taken to describe
    # that of the same place in the order. May be given several times.
    text: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    # Use this video as a demonstration: a GIF, an MP4 or a folder of frames. May be given several times.
    demonstration: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    # Encoder of videos and sentences: small (comes with rcjax), a folder that `python -m weights_convert` wrote, or the
    # folder `encoder` of a run.
    encoder: str = "small"
    # Number of episodes of each task (the paper has 10).
    episodes: int = 10
    # Seed of the start and of the noise.
    seed: int = 0
    # Folder of the results: table.md, table.json and figure.png, which are replaced if they exist.
    out: Path = Path("runs/alignment")
    # Side of the square frames that the encoder sees, in pixels; by default what it was made for.
    size: int | None = None
    # Number of frames that the encoder sees of each episode; by default what it was made for.
    frames: int | None = None


@dataclasses.dataclass(frozen=True)
class Record:
    """Record one episode of the task's expert policy, or of a run's policy (--run), as GIF or MP4."""

    # File to write; its name ends in .gif or .mp4.
    out: Path
    # Metaworld task that the expert solves, e.g. drawer-close.
    task: str = "drawer-close"
    # Record the policy of the run in this folder instead of the expert.
    run: Path | None = None
    # Which of the run's policies, as for `rcjax eval`.
    which: Which = "last"
    # Length of the expert's episode, in control steps (the paper and the release use 128).
    episode_length: int = 128


Command = Train | Eval | Reward | Align | Record
MAX_ALIGN_EPISODES = 1000
CURVE_SUFFIXES = (".png", ".gif", ".mp4")
MAX_NAME_BYTES = 200  # file systems allow 255, but temporary names add some to it
MACHINE_OPTIONS = ("--devices", "--distributed", "--coordinator", "--processes", "--process-id")


def main(arguments: list[str] | None = None) -> int:
    """Runs one command with these arguments (None: those of the process), and returns the exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    return exit_code(PROGRAM, lambda: run_command(parse(given)))


def run_command(command: Command) -> int:
    """Runs the command and returns the exit code. Checks that take no time come before any import or other work."""
    check_paths(command)
    prepare_environment(share_cpu=not (isinstance(command, Train) and command.distributed))
    if isinstance(command, Train):
        join_distributed(command)
    require_devices()
    return HANDLERS[type(command)](command)


def parse(arguments: list[str]) -> Command:
    """Returns the command that the arguments name.

    Raises ValueError for invalid arguments, with a message of one line, and SystemExit for --help.
    """
    if any(not argument.strip() or re.fullmatch(r"--[^=]*=\s*", argument) for argument in arguments):
        raise ValueError(f"an argument is empty, in: {short_repr(arguments)}; give it a value or leave the option out.")
    _refuse_options_beside_resume(arguments)
    default = Train(config=_default_config(arguments))
    commands = (
        Annotated[Train, tyro.conf.subcommand("train", default=default)]
        | Annotated[Eval, tyro.conf.subcommand("eval")]
        | Annotated[Reward, tyro.conf.subcommand("reward")]
        | Annotated[Align, tyro.conf.subcommand("align")]
        | Annotated[Record, tyro.conf.subcommand("record")]
    )

    def run_parser() -> Command:
        return tyro.cli(
            commands, args=arguments, prog=PROGRAM, description=DESCRIPTION, config=(tyro.conf.OmitArgPrefixes,)
        )

    try:
        with contextlib.redirect_stderr(io.StringIO()):
            command = run_parser()
    except SystemExit as exit:
        if not exit.code:  # --help
            raise
        raise ValueError(_parser_error(run_parser)) from None
    return _apply_goal_suffix(command, arguments)


def _default_config(arguments: list[str]) -> TrainConfig:
    """Returns the defaults of the options of `rcjax train`: those of the preset, or of the run of --init-from."""
    pretrained = _option_value(arguments, "--init-from") or _option_value(arguments, "--init_from")
    if pretrained is None:
        task = _option_value(arguments, "--task") or EnvConfig.task
        return preset(_option_value(arguments, "--preset") or "demo", task)
    if "--preset" in _given_options(arguments):
        raise ValueError("--init-from does not go with --preset: options that are not given are those of that run.")
    require_printable("--init-from", pretrained)
    folder = Path(pretrained).absolute()
    kind = _option_value(arguments, "--finetune")
    return finetuning(read_config(folder), str(folder), "sound" if kind == "sound" else "release")


def _parser_error(run_parser: Callable[[], Command]) -> str:
    """Runs the parser once more and returns its error message in one line.

    The parser prints a box with a title, the message and hints, which are separated by rules. If standard output is no
    terminal, as here, the box has neither colours nor borders, and its rules are lines of "-". (The first run keeps
    standard output, where --help is printed.)
    """
    printed = io.StringIO()
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(printed),
        contextlib.suppress(SystemExit),
    ):
        run_parser()
    lines = [line.strip() for line in printed.getvalue().splitlines()]
    rules = [i for i, line in enumerate(lines) if line and not line.strip("-")]
    if len(rules) > 1:  # otherwise this is another box than tyro 1.0's: all of it is shown
        lines = lines[rules[0] + 1 : rules[1]]
    message = " ".join(" ".join(lines).split())
    # tyro's name for the field whose dataclass raised ValueError
    message = re.sub(r"^Error parsing __tyro-dummy-inner__\S*: ", "", message)
    return f"{message} (see rcjax --help)"


def _apply_goal_suffix(command: Command, arguments: list[str]) -> Command:
    """Shows the goal if --task ends in "-goal-observable", unless an option says whether it is hidden."""
    if not isinstance(command, Train) or {"--goal-hidden", "--no-goal-hidden"} & _given_options(arguments):
        return command
    env = command.config.env
    if not env.task.strip().lower().replace("_", "-").endswith("-goal-observable"):
        return command
    config = dataclasses.replace(command.config, env=dataclasses.replace(env, goal_hidden=False))
    return dataclasses.replace(command, config=config)


def _given_options(arguments: list[str]) -> set[str]:
    """Returns the names of the given options as --help spells them."""
    return {argument.split("=")[0].replace("_", "-") for argument in arguments if argument.startswith("--")}


def _refuse_options_beside_resume(arguments: list[str]) -> None:
    given = _given_options(arguments)
    refused = sorted(given - {"--resume", *MACHINE_OPTIONS}) if "--resume" in given else []
    if refused:
        raise ValueError(
            f"--resume does not go with {', '.join(refused)}: a run continues with the config in its folder; only "
            f"{', '.join(MACHINE_OPTIONS)} may be given."
        )


def _option_value(arguments: list[str], name: str) -> str | None:
    """Returns the value of `--name value` or `--name=value`.

    This is for options that give the parser its defaults, and so have to be known before it runs.
    """
    for i, argument in enumerate(arguments):
        if argument == name and i + 1 < len(arguments):
            return arguments[i + 1]
        if argument.startswith(f"{name}="):
            return argument.split("=", 1)[1]
    return None


def check_paths(command: Command) -> None:
    """Raises ValueError for options whose text is not printable, and for files that cannot be written."""
    for field in dataclasses.fields(command):
        value = getattr(command, field.name)
        for text in value if isinstance(value, tuple) else (value,):
            if isinstance(text, str | Path):
                require_printable(f"--{field.name.replace('_', '-')}", str(text))
    if isinstance(command, Train):
        require_printable("--encoder", command.config.encoder or "none")
        if command.name is not None:
            require_folder_name(command.name)
    if isinstance(command, Record):
        require_writable(command.out)
        require_replaceable("--out", command.out)
    if isinstance(command, Reward):
        check_reward(command)
    if isinstance(command, Align):
        check_align(command)


def check_reward(command: Reward) -> None:
    """Raises ValueError if there is no demonstration, if a number is out of range, or if --curve cannot be written."""
    demonstrations(command)
    for name in ("size", "frames"):
        value = getattr(command, name)
        if value is not None:
            require_range(f"--{name}", value, 1)
    if command.curve is None:
        return
    if command.curve.suffix.lower() not in CURVE_SUFFIXES:
        raise ValueError(
            f"--curve {command.curve} ends in {command.curve.suffix!r}; give a name that ends in .png for a "
            "picture, or in .gif or .mp4 for an animation."
        )
    require_replaceable("--curve", command.curve)
    inputs = {os.path.realpath(path) for path in (command.video, *command.demonstration, *command.minus_demonstration)}
    if inputs & {os.path.realpath(command.curve), os.path.realpath(command.curve.parent)}:
        raise ValueError(
            f"--curve {command.curve} would replace a video that is compared, or a frame of it; choose another place."
        )


def check_align(command: Align) -> None:
    """Raises ValueError if there is nothing to compare with, if a number is out of range, or if --out is no folder."""
    if command.video and not (command.task or command.text or command.demonstration):
        raise ValueError(
            'there is nothing to compare the videos with; give at least one --task, --text "..." or --demonstration '
            "FILE."
        )
    require_files(each_alone(command.text, command.demonstration))
    require_range("--episodes", command.episodes, 1, MAX_ALIGN_EPISODES)
    require_range("--seed", command.seed, 0, INT32_MAX)
    for name in ("size", "frames"):
        if getattr(command, name) is not None:
            require_range(f"--{name}", getattr(command, name), 1)
    require_writable_folder(command.out, "table.json", 1 << 20, "choose another --out")


def demonstrations(command: Reward) -> list[TaskSpec]:
    """Returns the sentences and then the videos, or their combination.

    Raises ValueError if there are none, or if one is not valid.
    """
    text, video = command.text, command.demonstration
    if not text and not video:
        raise ValueError(
            'there is nothing to compare the video with; give at least one --text "..." or --demonstration FILE.'
        )
    if command.combine is not None or command.minus_text or command.minus_demonstration:
        minus = {"minus_text": command.minus_text, "minus_video": command.minus_demonstration}
        specs = [TaskSpec(text=text, video=video, combine=command.combine or "sum", **minus)]
    else:
        specs = each_alone(text, video)
    require_files(specs)
    return specs


def each_alone(text: tuple[str, ...], video: tuple[str, ...]) -> list[TaskSpec]:
    """Returns a demonstration for each sentence, and then for each video."""
    return [TaskSpec(text=(each,)) for each in text] + [TaskSpec(video=(each,)) for each in video]


def require_files(specs: list[TaskSpec]) -> None:
    """Raises ValueError if a video is the word that stands for the expert in training, and no file."""
    if any(spec.shows_expert for spec in specs) and not Path(EXPERT).exists():
        raise ValueError(f"--demonstration {EXPERT} is no file; make one with `rcjax record --out {EXPERT}.mp4`.")


def require_replaceable(option: str, path: Path) -> None:
    """Raises ValueError unless a file can be written at this path, or replaced there."""
    require_writable_folder(path.parent, path.name, 1 << 20, f"choose another {option}")
    if path.exists() and not path.is_file():
        raise ValueError(f"{option} {path} is not a regular file, so it cannot be replaced; choose another.")


def require_printable(option: str, value: str) -> None:
    """Raises ValueError for a value that is empty or not printable, because files and pictures will contain it."""
    if not value.strip() or not value.replace("\n", " ").replace("\t", " ").isprintable():
        raise ValueError(
            f"{option} {short_repr(value)} is empty, or has characters that cannot be printed; give plain text."
        )


def require_folder_name(name: str) -> None:
    """Raises ValueError if `name` cannot be the name of a run's folder."""
    if name in (".", "..") or not name.isprintable() or Path(name).name != name or len(name.encode()) > MAX_NAME_BYTES:
        raise ValueError(
            f"--name {short_repr(name)} cannot be the name of a folder: it has a slash, or more than {MAX_NAME_BYTES} "
            "bytes; use --runs to choose where the run's folder is made."
        )


def train_command(command: Train) -> int:
    from rcjax import train

    if command.resume is not None:
        train.resume(command.resume, devices=command.devices)
    else:
        config = training_config(command)
        name = command.name or default_name(config)
        train.start(config, command.runs / name, devices=command.devices)
    return 0


def default_name(config: TrainConfig) -> str:
    """Returns the name of a run's folder if none is given."""
    reward = () if config.reward == "video" else (config.reward,)
    finetune = () if config.init_from is None else (f"from{Path(config.init_from).name}", config.finetune)
    return "-".join((config.env.task, config.preset, *reward, *finetune, config.seeds_text.replace(" ", "")))


def join_distributed(command: Train) -> None:
    """Joins the other processes if --distributed is given."""
    if command.distributed:
        join_processes(command.coordinator, command.processes, command.process_id)
    elif (command.coordinator, command.processes, command.process_id) != (None, None, None):
        raise ValueError("--coordinator, --processes and --process-id need --distributed.")


def training_config(command: Train) -> TrainConfig:
    """Returns the config with the demonstrations of --text, --video and so on, or else the task's own one.

    Paths become absolute, so that the run can be resumed from any folder.
    """
    from rcjax import envs
    from rcjax.encoders import NAMED

    config = command.config
    task = envs.canonical_name(config.env.task)
    named = (None, *NAMED)
    return dataclasses.replace(
        config,
        spec=task_spec(command, envs.task_class(task).prompt),
        env=dataclasses.replace(
            config.env,
            task=task,
            goal_hidden=envs.choose_goal_hidden(config.env.task, config.env.goal_hidden),
        ),
        init_from=None if config.init_from is None else str(Path(config.init_from).absolute()),
        encoder=config.encoder if config.encoder in named else str(Path(str(config.encoder)).absolute()),
    )


def task_spec(command: Train, prompt: str) -> TaskSpec:
    """Returns the demonstrations that the options name.

    Without any, this is the task's sentence `prompt`, or the expert's video where the encoder is random and so cannot
    read. Raises ValueError for demonstrations beside a reward that needs none.
    """
    from rcjax.encoders import RANDOM

    given = {name: getattr(command, name) for name in ("text", "video", "minus_text", "minus_video")}
    if command.config.reward != "video":
        options = given | {"combine": command.combine}
        refused = ", ".join(f"--{name.replace('_', '-')}" for name, value in options.items() if value)
        if refused:
            raise ValueError(
                f"--reward {command.config.reward} does not go with {refused}: it looks at no videos; leave one of "
                "them out."
            )
        return TaskSpec(video=(EXPERT,))
    if command.combine is not None and len(given["text"] + given["video"]) < 2:
        raise ValueError(
            f"--combine {command.combine} combines several demonstrations; give more of --text and --video."
        )
    if not any(given.values()) and command.config.init_from is not None:
        pretrained = read_config(Path(command.config.init_from))
        if pretrained.reward == "video":
            return pretrained.spec
    if not any(given.values()):
        return TaskSpec(video=(EXPERT,)) if command.config.encoder == RANDOM else TaskSpec(text=(prompt,))
    for name in ("video", "minus_video"):
        given[name] = tuple(path if path == EXPERT else str(Path(path).absolute()) for path in given[name])
    return TaskSpec(**given, combine=command.combine or "sum")


def eval_command(command: Eval) -> int:
    from rcjax.evaluate import evaluate_run, replay_demonstration
    from rcjax.report import describe_evaluation, describe_replay
    from rcjax.storage import RunFolder

    run = RunFolder.open(command.run)
    if command.replay and command.which != "last":
        raise ValueError(
            f"--replay does not go with --which {command.which}: it runs no policy; leave one of them out."
        )
    if command.replay:
        print(describe_replay(run, *replay_demonstration(run)))
        return 0
    print(describe_evaluation(run, evaluate_run(run, command.which), command.which))
    return 0


def reward_command(command: Reward) -> int:
    from rcjax import ranking, similarity
    from rcjax.prefixes import open_video

    specs, encoder = demonstrations(command), similarity.load_judge(command.encoder)
    config = similarity.clip_config(encoder.network, command.frames, command.size)
    for notice in similarity.read_sentences(specs, encoder):
        print_line(PROGRAM, notice)
    video, curve = open_video(command.video), None
    if command.curve is not None:
        from rcjax.curve_figure import write_curve
        from rcjax.reward_curve import reward_curve

        curve = reward_curve(video, specs, encoder, config)
        title = f"{one_line(command.video.name, 60)}, encoder {one_line(command.encoder, 60)}"
        write_curve(command.curve, curve, video, specs, title)
        print_line(PROGRAM, f"the curve is written to {command.curve}")
    values = similarity.similarities(video, specs, encoder, config) if curve is None else curve.values[:, -1]
    if command.json:
        print(ranking.to_json(command.video, encoder, config, specs, values, curve))
    else:
        print(f"{values[0]:.6g}" if len(specs) == 1 else ranking.format_table(specs, values))
    return 0


def align_command(command: Align) -> int:
    from rcjax import alignment, alignment_report, envs, similarity

    tasks = command.task or (() if command.video else envs.PAPER_TASKS)
    specs = each_alone(command.text, command.demonstration) or alignment.own_sentences(
        [envs.canonical_name(task) for task in tasks]
    )
    encoder = similarity.load_judge(command.encoder)
    video = alignment.episode_video(encoder.network, command.frames, command.size)
    for notice in similarity.read_sentences(specs, encoder):
        print_line(PROGRAM, notice)
    result = alignment.align_tasks(tasks, command.video, specs, encoder, video, command.episodes, command.seed)
    alignment_report.write(result, command.out, encoder, command.seed)
    print(alignment_report.as_markdown(result))
    print(f"Written to {command.out}: table.md, table.json, figure.png.")
    return 0


def record_command(command: Record) -> int:
    from rcjax import envs, showcase
    from rcjax.storage import RunFolder

    if command.run is None and command.which != "last":
        raise ValueError(f"--which {command.which} is a policy of a run; give the run with --run.")
    if command.run is not None:
        showcase.record_policy(RunFolder.open(command.run), command.out, command.which)
    else:
        showcase.record_expert(envs.canonical_name(command.task), command.episode_length, command.out)
    print(f"Written to {command.out}")
    return 0


HANDLERS: dict[type[Command], Callable[[Any], int]] = {
    Train: train_command, Eval: eval_command, Reward: reward_command, Align: align_command, Record: record_command,
}  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
