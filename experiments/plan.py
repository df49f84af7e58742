"""The runs that figures are made of: which policies learn what, in which folder.

A figure is a table of jobs, and a job is a setting: a task, what is learned from, and what the policies begin with. Its
name, under which its run folder lies, says so too; so figures share the runs of equal jobs.
"""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from experiments.scales import Scale
from rcjax.config import EXPERT, TaskSpec, TrainConfig, finetuning
from rcjax.encoders import RANDOM
from rcjax.envs.registry import KITCHEN, task_class

Reward = Literal["dense", "gail", "airl"]
Finetuning = Literal["release", "sound"]

LABELS = {"dense": "dense reward", "gail": "GAIL", "airl": "AIRL"}


@dataclasses.dataclass(frozen=True)
class Job:
    """A row of a table: policies of several seeds that learn in the same way.

    Args:
        name: The name of the run folder. With several configs, it is followed by the index of each.
        task: The task.
        label: What is learned from, for tables and legends.
        stage: How the policies were finetuned afterwards; "" if they were not.
        configs: The config of the run, or of several runs whose seeds are taken together.
    """

    name: str
    task: str
    label: str
    configs: tuple[TrainConfig, ...]
    stage: str = ""

    def runs(self) -> list[tuple[str, TrainConfig]]:
        """Returns the name and the config of each run."""
        if len(self.configs) == 1:
            return [(self.name, self.configs[0])]
        return [(f"{self.name}-{i}", config) for i, config in enumerate(self.configs)]


@dataclasses.dataclass(frozen=True)
class Plan:
    """Makes jobs of one scale, whose files are in `folder`.

    Runs name others, and recordings, by paths in it. So the folder may be moved or copied if it was given relative to
    the working directory.
    """

    scale: Scale
    folder: Path

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    def recording(self, name: str) -> Path:
        """Returns the folder of pictures of a recorded demonstration."""
        return self.folder / "demonstrations" / name

    def tasks(self, names: Sequence[str]) -> list[str]:
        """Returns the tasks of a figure that this scale runs: its own, or those of the scale that are alike."""
        if self.scale.tasks is None:
            return list(names)
        return [task for task in self.scale.tasks if (task in KITCHEN) == (names[0] in KITCHEN)]

    def from_text(self, task: str, sentence: str | None = None) -> Job:
        """Policies whose reward is the similarity with a sentence, by default the task's own."""
        name = f"{task}-text" + ("" if sentence is None else f"-{slug(sentence)}")
        text = task_class(task).prompt if sentence is None else sentence
        return self._job(name, task, f"RoboCLIP, “{text}”", spec=TaskSpec(text=(text,)))

    def from_expert_video(self, task: str) -> Job:
        """Policies whose reward is the similarity with an episode of the task's expert."""
        return self.from_spec(task, "video", "RoboCLIP, expert's video", TaskSpec(video=(EXPERT,)))

    def from_spec(self, task: str, name: str, label: str, spec: TaskSpec) -> Job:
        """Policies whose reward is the similarity with any demonstrations."""
        return self._job(f"{task}-{name}", task, label, spec=spec)

    def from_reward(self, task: str, reward: Reward) -> Job:
        """Policies that learn from the task's dense reward, or from the expert by GAIL or AIRL."""
        return self._job(f"{task}-{reward}", task, LABELS[reward], reward=reward)

    def from_scaled_dense(self, task: str) -> Job:
        """Policies that learn from the dense reward as `sound` finetunes: scaled, actor and critic clipped apart."""
        ppo = dataclasses.replace(self.scale.base.ppo, scale_rewards=True, clip_separately=True, ent_coef=0.0)
        return self._job(f"{task}-dense-scaled", task, "dense reward, scaled", reward="dense", ppo=ppo)

    def from_random_encoders(self, task: str) -> Job:
        """Policies whose reward is the similarity with the expert's video by random S3Ds, another one for each seed."""
        spec = TaskSpec(video=(EXPERT,))
        configs = tuple(
            self._config(task, spec=spec, encoder=RANDOM, encoder_seed=seed, seed=seed, seeds=1)
            for seed in range(self.scale.base.seeds)
        )
        return Job(f"{task}-random", task, "random S3D, expert's video", configs)

    def from_encoder(self, task: str, name: str, label: str, **changes: object) -> Job:
        """Policies whose reward is that of another encoder, with the changes of the config that it needs."""
        return self._job(f"{task}-{name}", task, label, **changes)

    def finetuned(self, job: Job, kind: Finetuning) -> Job:
        """The policies of `job`, finetuned on the dense reward."""
        n = self.scale.finetuning
        configs = tuple(
            self._lasting(
                finetuning(config, str(self._path(name)), kind), n, reward="dense", eval_every=self._eval_every
            )
            for name, config in job.runs()
        )
        stage = f"finetuned on the dense reward ({kind})"
        return Job(f"{job.name}-{kind}", job.task, job.label, configs, stage)

    def cloned(self, job: Job, kl_weight: float = 0.0) -> Job:
        """The policies of `job`, finetuned on the observations and actions of one of the expert's episodes."""
        configs = tuple(self._cloning(finetuning(c, str(self._path(n)), "release"), kl_weight) for n, c in job.runs())
        stage = "finetuned on one episode" + (f" (KL weight {kl_weight:g})" if kl_weight else "")
        return Job(
            f"{job.name}-cloned" + (f"-kl{kl_weight:g}" if kl_weight else ""), job.task, job.label, configs, stage
        )

    def cloned_from_scratch(self, task: str) -> Job:
        """Untrained policies that clone one of the expert's episodes: the control."""
        config = self._cloning(self._config(task))
        return Job(f"{task}-cloned", task, "behaviour cloning alone", (config,))

    @property
    def _eval_every(self) -> int:
        return self.scale.finetuning_eval_every

    def _path(self, name: str) -> Path:
        return self.runs / name

    def _cloning(self, config: TrainConfig, kl_weight: float = 0.0) -> TrainConfig:
        cloning = dataclasses.replace(config.cloning, bc_kl_weight=kl_weight)
        n = self.scale.cloning
        return self._lasting(config, n, reward="bc", cloning=cloning, eval_every=max(1, n // 4))

    def _lasting(self, config: TrainConfig, iterations: int, **changes: object) -> TrainConfig:
        steps = iterations * config.steps_per_iteration
        return dataclasses.replace(config, total_env_steps=steps, **changes)  # pyright: ignore[reportArgumentType]

    def _job(self, name: str, task: str, label: str, **changes: object) -> Job:
        return Job(name, task, label, (self._config(task, **changes),))

    def _config(self, task: str, **changes: object) -> TrainConfig:
        base = self.scale.base
        env = dataclasses.replace(base.env, task=task)
        return dataclasses.replace(base, env=env, **changes)  # pyright: ignore[reportArgumentType]


def slug(text: str) -> str:
    """Returns the words of a sentence as part of a folder's name."""
    return "-".join(re.findall(r"\w+", text.lower()))[:60]
