"""How much of a figure is run: minutes on any machine, hours on two CPU cores, or what the paper states."""

import dataclasses
from pathlib import Path
from typing import Literal

from rcjax.checks import require_range
from rcjax.config import EnvConfig, TrainConfig, demo, paper
from rcjax.encoders import NAMED, RANDOM, load_encoder

MAX_SEEDS = 1000
ScaleName = Literal["smoke", "demo", "paper"]


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of every figure's command."""

    # How much is run: a few episodes that show that everything works (smoke), what two CPU cores learn with the encoder
    # that comes with rcjax (demo), or the paper's sizes and steps, for accelerators and converted weights (paper).
    scale: ScaleName = "demo"
    # Encoder of videos and sentences, as for `rcjax train`; by default small, except that --scale paper needs a folder
    # of converted weights.
    encoder: str | None = None
    # Number of seeds of each setting, which are trained in one program; by default 5 (smoke: 2).
    seeds: int | None = None
    # Number of devices to use; by default as many as can share the work evenly.
    devices: int | None = None
    # Folder of the results; runs are shared by all figures of a scale.
    out: Path = Path("runs/figures")


@dataclasses.dataclass(frozen=True)
class Scale:
    """The sizes of a scale.

    Args:
        name: Its name.
        base: The config of policies that learn drawer-close, from which those of all runs are made.
        finetuning: Number of iterations of finetuning.
        finetuning_eval_every: Number of iterations between its evaluations.
        cloning: Number of iterations of behaviour cloning.
        tasks: The tasks that take the place of each figure's, one of Metaworld and one of the Kitchen; None runs the
            figure's own.
        aligned: Numbers of episodes of a task that figure 2 compares, one matrix each.
    """

    name: ScaleName
    base: TrainConfig
    finetuning: int
    finetuning_eval_every: int
    cloning: int
    tasks: tuple[str, ...] | None
    aligned: tuple[int, ...]


def smoke_scale() -> Scale:
    base = demo()
    base = dataclasses.replace(
        base, seeds=2, n_envs=2, total_env_steps=2 * 2 * base.video.episode_length, eval_every=1,
        env=EnvConfig(bank_size=8), ppo=dataclasses.replace(base.ppo, n_epochs=2, batch_size=128),
    )  # fmt: skip
    return Scale(
        "smoke",
        base,
        finetuning=2,
        finetuning_eval_every=1,
        cloning=2,
        tasks=("drawer-close", "kitchen-slide"),
        aligned=(4,),
    )


def demo_scale() -> Scale:
    base = demo()
    base = dataclasses.replace(
        base, seeds=5, n_envs=32, total_env_steps=60 * 32 * base.video.episode_length, eval_every=5
    )
    return Scale("demo", base, finetuning=20, finetuning_eval_every=2, cloning=20, tasks=None, aligned=(10, 64))


def paper_scale() -> Scale:
    """Returns the scale of the paper, which states neither its number of seeds nor how long it finetunes.

    The release's README says "a handful of episodes"; 500 iterations are half a million steps.
    """
    base = dataclasses.replace(paper(), seeds=5)
    return Scale("paper", base, finetuning=500, finetuning_eval_every=10, cloning=100, tasks=None, aligned=(10, 64))


SCALES = {"smoke": smoke_scale, "demo": demo_scale, "paper": paper_scale}


def choose_scale(options: Options) -> Scale:
    """Returns the scale with the encoder and the number of seeds of the options.

    Raises ValueError for a number out of range, and for an encoder that is missing, cannot be loaded or takes other
    clips.
    """
    scale = SCALES[options.scale]()
    seeds = scale.base.seeds if options.seeds is None else options.seeds
    require_range("--seeds", seeds, 1, MAX_SEEDS)
    base = dataclasses.replace(scale.base, seeds=seeds, encoder=_choose_encoder(options, scale))
    return dataclasses.replace(scale, base=base)


def _choose_encoder(options: Options, scale: Scale) -> str:
    encoder = options.encoder or scale.base.encoder
    if encoder is None:
        raise ValueError(
            f"--scale {scale.name} needs converted weights of S3D (python -m weights_convert --help): give their "
            "folder with --encoder; the encoder that comes with rcjax is for --scale demo."
        )
    if encoder == RANDOM:
        raise ValueError(f"--encoder {RANDOM} cannot read the figures' sentences; give small or converted weights.")
    video = scale.base.video
    load_encoder(encoder).network.check_clips(video.n_frames, video.size, video.pixel_scale)
    return encoder if encoder in NAMED else str(Path(encoder).absolute())
