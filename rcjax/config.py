"""The configuration of a run: frozen dataclasses that are checked on construction and convert to and from JSON.

The paper states its method but few numbers. Its released code states the numbers, and does some things differently.
Hence there are two presets: `paper` follows the text of the paper and takes numbers from the release only where the
text is silent, and `release` does what the released code does. The preset `demo` is small enough to learn on two CPU
cores.

The comment above a field is its help text on the command line.
"""

import dataclasses
import difflib
import json
import re
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from rcjax.checks import INT32_MAX, UINT32_MAX, raise_invalid, require_range, require_types, short_repr
from rcjax.ppo.config import PPOConfig
from rcjax.rewards.config import CloningConfig, DiscriminatorConfig

Which = Literal["last", "best", "reward", "plateau"]
"""Which of a run's policies counts: the last one, or one that was selected by a rule; see `selection.Selected`"""

EXPERT = "expert"  # as the video of a TaskSpec: an episode of the task's expert policy
CONTROL_FREQUENCY = 80  # Hz; a control step of Metaworld is 5 physics steps of 2.5 ms
KITCHEN_FREQUENCY = 12.5  # Hz; one of the Kitchen is 8 physics steps of 10 ms
MAX_BANK_SIZE = 100_000  # each start takes some milliseconds to prepare and five kilobytes of memory
MAX_TEXT_LENGTH = 1000  # characters; S3D reads only sixteen words
VIEW_HEIGHT = 480  # pixels of the view of which frames show the centre
MAX_EXPERT_EPISODES = 10_000
MAX_PIXEL_SCALE = 255.0
MIN_PIXEL_SCALE = 1e-6


@dataclasses.dataclass(frozen=True)
class EnvConfig:
    """The task, what the policy observes, and how episodes begin."""

    # Task to learn: one of Metaworld's, e.g. drawer-close or drawer-close-v3, or of Franka Kitchen's, e.g.
    # kitchen-slide (needs the extra of the name kitchen); a wrong name lists the nearest ones.
    task: str = "drawer-close"
    # Replace the goal in the observation by zeros, as the release does in training with Metaworld.
    goal_hidden: bool = True
    # Append t / episode_length to the observation, as the release does.
    time_in_obs: bool = True
    # Size of the bank of starts for training, which have the seeds train_seed, train_seed + 1, ... The bank for
    # evaluation has the same size (8 in the release).
    bank_size: int = 256
    # Seed of the first start of the training bank (the release uses 0).
    train_seed: int = 0
    # How a seed is turned into a start: as Metaworld 3 does, or as the release's fork of Metaworld from 2022 does.
    random_source: Literal["metaworld", "release"] = "metaworld"
    # Seed of the first start of the evaluation bank, which is separate from the training bank (the release uses 10).
    eval_seed: int = 1000
    # Seed of the first start of the bank on which `rcjax eval` scores policies, which were neither trained nor selected
    # on it. It has the size of the others; where it would overlap with them, it begins after them.
    test_seed: int = 2000
    # Version of Metaworld's dense reward, which is reported as the true return, and trained on only by --reward dense.
    reward_version: Literal["v1", "v2"] = "v2"
    # Physics engine: MJX (jax), C MuJoCo on the host (c), or MJX-Warp for NVIDIA GPUs (warp, which needs the extra of
    # the same name); auto means c on a CPU, where it is the fastest, and jax elsewhere.
    backend: Literal["auto", "jax", "c", "warp"] = "jax"
    # What actions drive in the Kitchen: the arm's end, as in the release (ee), or the joints' velocities, as in
    # gymnasium-robotics (joint).
    control: Literal["ee", "joint"] = "ee"
    # What the Kitchen's observation and true return are about: the task alone (task), or microwave, hinge and slide,
    # which the release always trains on (release).
    goal: Literal["task", "release"] = "task"
    # Start environment i from start i of the bank in every episode, as the release does, not from a random start.
    frozen_resets: bool = False

    def __post_init__(self):
        require_types(self)
        require_range("bank_size", self.bank_size, 1, MAX_BANK_SIZE)
        for name in ("train_seed", "eval_seed", "test_seed"):
            require_range(name, getattr(self, name), 0, UINT32_MAX - self.bank_size + 1)

    @property
    def is_kitchen(self) -> bool:
        """Whether the task is one of Franka Kitchen's."""
        return self.task.strip().lower().replace("_", "-").startswith("kitchen-")

    @property
    def train_seeds(self) -> range:
        return range(self.train_seed, self.train_seed + self.bank_size)

    @property
    def eval_seeds(self) -> range:
        return range(self.eval_seed, self.eval_seed + self.bank_size)

    @property
    def first_test_seed(self) -> int:
        """`test_seed`, or the first seed after the other banks where their seeds would be among the test seeds."""
        last = self.test_seed + self.bank_size - 1
        overlaps = any(
            seeds[0] <= last and self.test_seed <= seeds[-1] for seeds in (self.train_seeds, self.eval_seeds)
        )
        return max(self.train_seeds.stop, self.eval_seeds.stop) if overlaps else self.test_seed


@dataclasses.dataclass(frozen=True)
class VideoConfig:
    """How an episode is turned into the clip that the encoder sees. The defaults follow section 3 of the paper."""

    # Length of an episode, in control steps (the paper and the release use 128).
    episode_length: int = 128
    # Control steps per frame of the clip: of 128 steps, 4 keeps the paper's 32 frames.
    frame_stride: int = 4
    # Side of the square frames, in pixels.
    size: int = 250
    # Side of the square that the frames show, in pixels of a view of 640x480; by default what the release shows: the
    # central 250x250 of Metaworld, and all 480x480 of the Kitchen.
    view: int | None = None
    # Swap left and right, as the release's old offscreen renderer did.
    mirror: bool = False
    # Number of samples that are averaged for each pixel; MuJoCo's own renderer uses 4.
    samples: Literal[1, 4, 9, 16] = 1
    # Draw the shadows of the lights that cast them, as MuJoCo's own renderer does.
    shadows: bool = False
    # Renderer: the package's own (jax), or for comparison MJX-Warp's ray tracer (warp, which needs the extra of the
    # same name).
    renderer: Literal["jax", "warp"] = "jax"
    # Factor by which pixel values from 0 to 255 are multiplied for S3D. S3D was trained on values from 0 to 1 (a factor
    # of 1/255); the release feeds it values from 0 to 255 (a factor of 1).
    pixel_scale: float = 1 / 255
    # Data type of the encoder's activations; auto means float32 on a CPU and bfloat16 elsewhere.
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    # How the layers of an S3D are computed: with 3-D convolutions (native), or with 2-D ones (separable), which are
    # faster on CPUs and GPUs. Their results are equal up to rounding; auto chooses by the platform.
    graph: Literal["auto", "native", "separable"] = "auto"

    def __post_init__(self):
        require_types(self)
        for name in ("episode_length", "frame_stride", "size"):
            require_range(name, getattr(self, name), 1)
        if self.view is not None:
            require_range("view", self.view, 1, VIEW_HEIGHT)
        if not MIN_PIXEL_SCALE <= self.pixel_scale <= MAX_PIXEL_SCALE:
            expected = f"a number from {MIN_PIXEL_SCALE} to {MAX_PIXEL_SCALE}; 1/255 scales pixels to [0, 1]"
            raise_invalid("pixel_scale", self.pixel_scale, expected)
        if self.episode_length % self.frame_stride:
            raise ValueError(
                f"episode_length={self.episode_length} is not a multiple of frame_stride={self.frame_stride}; "
                "every kept frame must stand for the same number of steps."
            )
        if self.n_frames * self.size**2 * self.samples * 3 > INT32_MAX:
            raise ValueError(
                f"a clip of {self.n_frames} frames of {self.size}x{self.size} with {self.samples} samples a pixel is "
                "more than 2^31 numbers; lower episode_length, size or samples, or raise frame_stride."
            )

    @property
    def n_frames(self) -> int:
        """Number of frames of a clip."""
        return self.episode_length // self.frame_stride

    @property
    def kept_steps(self) -> range:
        """Control steps whose frames are kept, counted from 0: 0, stride, ... The only frame of a clip is the last."""
        first = self.episode_length - 1 if self.n_frames == 1 else 0
        return range(first, self.episode_length, self.frame_stride)


@dataclasses.dataclass(frozen=True)
class Term:
    """One sentence or video of a task's specification. A video is a file, a folder of frames, or `expert`."""

    kind: Literal["text", "video"]
    source: str
    sign: Literal[1, -1] = 1


@dataclasses.dataclass(frozen=True)
class TaskSpec:
    """The demonstrations: sentences and videos, of which an episode should look like some and unlike others.

    Usually there is one. The embeddings of several are added, and those of `minus_text` and `minus_video` subtracted
    (equation 3 of the paper). Videos are files, folders of frames, or `expert`. A single string may be given for a
    tuple of one.

    Example:
        TaskSpec(text="robot closing green drawer")
        TaskSpec(video="press.mp4", minus_text="red button", text="green drawer")
    """

    text: tuple[str, ...] = ()
    video: tuple[str, ...] = ()
    minus_text: tuple[str, ...] = ()
    minus_video: tuple[str, ...] = ()
    # How the similarities with several demonstrations make one reward: their sum, as in the release, their mean, or the
    # largest of them.
    combine: Literal["sum", "mean", "max"] = "sum"

    def __post_init__(self):
        for name in ("text", "video", "minus_text", "minus_video"):
            value = getattr(self, name)
            given = () if value is None else (value,) if isinstance(value, str) else value
            given = tuple(given) if isinstance(given, list) else given
            object.__setattr__(self, name, given)  # earlier versions wrote a string or null
        require_types(self)
        if not self.text and not self.video:
            raise ValueError(
                f"got {self._describe()} for the demonstration; give at least one sentence or video to look like: "
                '--text "..." or --video FILE (or --video expert).'
            )
        if self.combine != "sum" and (self.minus_text or self.minus_video):
            raise ValueError(
                f"combine={self.combine!r} with {self._describe()}; only a sum can subtract: leave --combine out, or "
                "--minus-text and --minus-video."
            )
        for term in self.terms:
            _check_term(term)

    @property
    def terms(self) -> tuple[Term, ...]:
        """The sentences and then the videos, those that are subtracted after those that are added."""
        return (
            *(Term("text", source) for source in self.text),
            *(Term("video", source) for source in self.video),
            *(Term("text", source, -1) for source in self.minus_text),
            *(Term("video", source, -1) for source in self.minus_video),
        )

    @property
    def texts(self) -> tuple[str, ...]:
        """All sentences, those that are subtracted included."""
        return self.text + self.minus_text

    @property
    def shows_expert(self) -> bool:
        """Whether an episode of the expert is one of the videos."""
        return EXPERT in self.video + self.minus_video

    def _describe(self) -> str:
        given = {name: getattr(self, name) for name in ("text", "video", "minus_text", "minus_video")}
        return ", ".join(f"{name}={short_repr(value)}" for name, value in given.items() if value) or "nothing"


def _check_term(term: Term) -> None:
    if term.kind == "video":
        if not term.source:
            raise_invalid("video", term.source, "a GIF, a video file or a folder of pictures")
    elif not (re.search(r"\w", term.source) and len(term.source) <= MAX_TEXT_LENGTH):
        expected = f"a sentence of at least one word and at most {MAX_TEXT_LENGTH} characters"
        raise_invalid("text", term.source, expected)


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """One training run. The defaults are those of the `paper` preset.

    An iteration is one episode of every environment followed by one PPO update. So `n_steps` of Stable-Baselines3 is
    `video.episode_length` here.
    """

    # Preset, the set of defaults of the training options: demo learns on two CPU cores in minutes, paper follows the
    # paper's text, and release runs what the released code runs.
    preset: str = "paper"
    # Seed of the networks' initial weights, and of all random draws in training.
    seed: int = 0
    # Number of policies that are trained side by side, from the seeds seed, seed + 1, ...; each of them has the number
    # of environments and steps that other options state.
    seeds: int = 1
    # Number of control steps to train each seed for, over all its environments, rounded down to whole iterations (the
    # release uses 5,000,000).
    total_env_steps: int = 5_000_000
    # Number of environments of each seed that are stepped in parallel (the release uses 8).
    n_envs: int = 8
    # Number of episodes that a device renders and embeds at a time; by default as many as fit in its memory, at
    # most 32.
    micro_batch: int | None = None
    # Reward that the policy learns from: RoboCLIP's, the similarity of videos (video); the task's own (dense); or that
    # of a discriminator, which tells the policy from the task's expert by observations and actions (gail or airl).
    # With bc there is none: the policy clones the expert's actions.
    reward: Literal["video", "dense", "gail", "airl", "bc"] = "video"
    # Number of successful episodes of the task's expert policy that --reward gail, airl and bc learn from.
    expert_episodes: int = 1
    # Begin with the policies of the run in this folder, to train them further, e.g. with --reward dense. Options that
    # are not given are those of that run.
    init_from: str | None = None
    # Which of that run's policies, as for `rcjax eval`.
    init_which: Which = "last"
    # How the training goes on: with the critic and the optimiser as they were, as the release does (release); or with
    # scaled rewards, a critic whose last layer is drawn anew and which learns first, separate clipping of actor and
    # critic, a standard deviation of actions of at most 1, and smaller steps (sound).
    finetune: Literal["release", "sound"] = "release"
    # Encoder of videos and sentences: small (comes with rcjax, knows Metaworld's scenes and simple sentences about
    # them), random (a randomly initialised S3D without a text tower), or a folder that `python -m weights_convert`
    # wrote. The presets paper and release need such a folder of S3D's released weights.
    encoder: str | None = None
    # Seed of the weights of --encoder random.
    encoder_seed: int = 0
    # Number of iterations between evaluations of the policy's mean; 0 evaluates only after the last iteration.
    eval_every: int = 50
    # Number of iterations between checkpoints.
    checkpoint_every: int = 10

    spec: Annotated[TaskSpec, tyro.conf.Suppress] = dataclasses.field(default_factory=lambda: TaskSpec(video=(EXPERT,)))
    env: EnvConfig = dataclasses.field(default_factory=EnvConfig)
    video: VideoConfig = dataclasses.field(default_factory=VideoConfig)
    ppo: PPOConfig = dataclasses.field(default_factory=lambda: RELEASE_PPO)
    discriminator: DiscriminatorConfig = dataclasses.field(default_factory=DiscriminatorConfig)
    cloning: CloningConfig = dataclasses.field(default_factory=CloningConfig)

    def __post_init__(self):
        require_types(self)
        for name in ("seeds", "n_envs", "checkpoint_every"):
            require_range(name, getattr(self, name), 1)
        require_range("seed", self.seed, 0, INT32_MAX - self.seeds + 1)
        require_range("encoder_seed", self.encoder_seed, 0)
        require_range("expert_episodes", self.expert_episodes, 1, MAX_EXPERT_EPISODES)
        require_range("eval_every", self.eval_every, 0)
        if self.micro_batch is not None:
            require_range("micro_batch", self.micro_batch, 1)
        if self.ppo.n_epochs * self.seeds * self.steps_per_iteration > INT32_MAX:
            raise ValueError(
                f"an update of seeds={self.seeds} x n_envs={self.n_envs} x episode_length={self.video.episode_length} "
                f"samples in n_epochs={self.ppo.n_epochs} is more than 2^31; lower one of them."
            )
        require_range("total_env_steps", self.total_env_steps, 1, INT32_MAX * self.steps_per_iteration)
        if self.micro_batch is not None and (self.seeds * self.n_envs) % self.micro_batch:
            raise ValueError(
                f"micro_batch={self.micro_batch} does not divide seeds x n_envs = {self.seeds * self.n_envs}; "
                "episodes are rendered and embedded in equal micro-batches."
            )
        if (self.n_envs * self.video.episode_length) % self.ppo.batch_size:
            raise ValueError(
                f"ppo.batch_size={self.ppo.batch_size} does not divide n_envs x episode_length = "
                f"{self.n_envs * self.video.episode_length}; minibatches must be equal."
            )
        if self.total_env_steps < self.steps_per_iteration:
            raise ValueError(
                f"total_env_steps={self.total_env_steps} is less than one iteration of {self.steps_per_iteration} "
                f"steps ({self.n_envs} environments x {self.video.episode_length}); raise it or lower n_envs."
            )
        self._check_expert_batches()
        if self.init_from is None and (self.finetune, self.init_which) != ("release", "last"):
            raise ValueError(
                f"finetune={self.finetune!r} and init_which={self.init_which!r} say how a pretrained policy is trained "
                "further; give its run with --init-from."
            )
        if self.env.frozen_resets and self.env.bank_size < self.n_envs:
            raise ValueError(
                f"frozen_resets with bank_size={self.env.bank_size} for n_envs={self.n_envs}; "
                "each environment needs a start of its own."
            )

    def _check_expert_batches(self) -> None:
        n_expert = self.expert_episodes * self.video.episode_length
        batch_sizes = {"demo_batch_size": self.discriminator.demo_batch_size}
        if self.reward == "bc":
            batch_sizes["bc_batch_size"] = self.cloning.bc_batch_size
        for name, batch in batch_sizes.items():
            if batch is not None and batch > n_expert:
                raise ValueError(
                    f"{name}={batch} is more than the {n_expert} transitions of expert_episodes="
                    f"{self.expert_episodes}; lower it, or raise expert_episodes."
                )
        if self.cloning.bc_kl_weight > 0 and (self.reward != "bc" or self.init_from is None):
            raise ValueError(
                f"bc_kl_weight={self.cloning.bc_kl_weight:g} keeps a cloned policy near that of --init-from; give it "
                "together with --reward bc and --init-from, or leave it out."
            )
        if self.discriminator.disc_normalize_output and self.reward == "gail":
            raise ValueError(
                "disc_normalize_output=True with reward='gail', whose rewards imitation leaves as they are; drop it."
            )

    @property
    def uses_expert_episodes(self) -> bool:
        """Whether something is learned from the expert's observations and actions."""
        return self.reward in ("gail", "airl", "bc")

    @property
    def reward_metric(self) -> str:
        """The name under which metrics have the sum of an episode's rewards, such as video_reward."""
        return f"{self.reward}_reward"

    @property
    def frames_per_second(self) -> float:
        """Frame rate at which videos play in real time."""
        return (KITCHEN_FREQUENCY if self.env.is_kitchen else CONTROL_FREQUENCY) / self.video.frame_stride

    @property
    def steps_per_iteration(self) -> int:
        """Control steps of one iteration of one seed, over all its environments."""
        return self.n_envs * self.video.episode_length

    @property
    def seeds_text(self) -> str:
        """The seeds as titles name them: "seed 0" or "seeds 0-15"."""
        return f"seed {self.seed}" if self.seeds == 1 else f"seeds {self.seed}-{self.seed + self.seeds - 1}"

    @property
    def n_iterations(self) -> int:
        """Number of iterations: `total_env_steps` rounded down to whole iterations."""
        return self.total_env_steps // self.steps_per_iteration


# The release calls PPO of Stable-Baselines3 with these arguments, and leaves the others at their defaults.
RELEASE_PPO = PPOConfig(n_epochs=1, batch_size=1024, ent_coef=0.5)


def paper() -> TrainConfig:
    """Returns the config of the paper's method, with the release's numbers where the text is silent."""
    return TrainConfig()


def release() -> TrainConfig:
    """Returns the config of the released code.

    Frames are mirrored, drawn as MuJoCo draws them, and have values from 0 to 255. There are 8 frozen resets, with the
    seeds 0 to 7 in training and 10 to 17 in evaluation. (`rcjax eval` scores from those of 20 to 27.)
    """
    return TrainConfig(
        preset="release",
        env=EnvConfig(
            bank_size=8,
            train_seed=0,
            eval_seed=10,
            test_seed=20,
            frozen_resets=True,
            random_source="release",
            goal="release",
        ),
        video=VideoConfig(mirror=True, pixel_scale=1.0, samples=4, shadows=True),
    )


def demo() -> TrainConfig:
    """Returns a config with small frames and fast learning: it learns drawer-close on two CPU cores in minutes."""
    return TrainConfig(
        preset="demo",
        encoder="small",
        total_env_steps=60 * 64 * 128,
        n_envs=64,
        eval_every=10,
        env=EnvConfig(backend="auto"),
        video=VideoConfig(size=64, frame_stride=8),  # the clips that the encoder takes
        # The reward comes only at the end of an episode, so discounting is weak, and credit reaches the whole episode.
        ppo=PPOConfig(learning_rate=1e-3, n_epochs=10, batch_size=1024, gamma=0.999, gae_lambda=0.99),
    )


def finetuning(pretrained: TrainConfig, path: str, kind: str) -> TrainConfig:
    """Returns the config that goes on from the run with the config `pretrained` in the folder `path`.

    Both forget that the pretrained run was itself begun from another one or kept near it, and `release` changes nothing
    else. With `sound`, returns of any size leave the critic's errors of order one, the critic
    learns them before the actor moves, its gradients do not shrink the actor's, and steps are small.
    """
    cloning = dataclasses.replace(pretrained.cloning, bc_kl_weight=0.0)
    config = dataclasses.replace(pretrained, init_from=path, init_which="last", finetune=kind, cloning=cloning)
    if kind != "sound":
        return config
    sound = dataclasses.replace(
        config.ppo, learning_rate=1e-4, target_kl=0.02, ent_coef=0.0, scale_rewards=True, clip_separately=True,
        critic_warmup=10,
    )  # fmt: skip
    return dataclasses.replace(config, ppo=sound)


PRESETS: dict[str, Callable[[], TrainConfig]] = {"demo": demo, "paper": paper, "release": release}


def preset(name: str, task: str = EnvConfig.task) -> TrainConfig:
    """Returns the preset of this name for a task. Raises ValueError for an unknown name.

    The release mirrors the frames of Metaworld, but not those of the Kitchen.
    """
    if name not in PRESETS:
        near = difflib.get_close_matches(name, PRESETS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"unknown preset {name!r}, expected one of {sorted(PRESETS)}{hint}")
    config = PRESETS[name]()
    config = dataclasses.replace(config, env=dataclasses.replace(config.env, task=task))
    if not config.env.is_kitchen:
        return config
    return dataclasses.replace(config, video=dataclasses.replace(config.video, mirror=False))


def to_json(config: TrainConfig) -> str:
    """Returns the config as JSON. NumPy numbers become Python numbers."""
    return json.dumps(dataclasses.asdict(config), indent=2, default=lambda number: number.item()) + "\n"


def read_config(folder: Path) -> TrainConfig:
    """Returns the config of the run in `folder`. Raises ValueError if it is not a run, or if its config is damaged."""
    path = folder / "config.json"
    if not path.is_file():
        raise ValueError(f"{folder} is not a run: it has no config.json; give a folder that `rcjax train` wrote.")
    try:
        return from_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be used: {error}") from error


def from_json(text: str) -> TrainConfig:
    """Returns the config that `to_json` wrote. Raises ValueError if the text is no JSON or no valid config."""
    try:
        values = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"config is not JSON ({error}); expected the config.json of a run.") from error
    return _from_dict(TrainConfig, values, "config")


def _from_dict(cls: type, values: Any, where: str) -> Any:
    """Returns an instance of the dataclass `cls`, whose fields may be dataclasses too. Lists become tuples."""
    if not isinstance(values, dict):
        raise ValueError(f"{where} is {type(values).__name__}, expected an object of {cls.__name__}'s fields.")
    types = typing.get_type_hints(cls)
    unknown = sorted(set(values) - set(types))
    if unknown:
        raise ValueError(f"{where} has unknown fields {unknown}; {cls.__name__} has {sorted(types)}.")
    return cls(**{name: _from_json_value(types[name], value, f"{where}.{name}") for name, value in values.items()})


def _from_json_value(annotation: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(annotation):
        return _from_dict(typing.cast(type, annotation), value, where)
    if isinstance(value, list):
        return tuple(value)
    return value
