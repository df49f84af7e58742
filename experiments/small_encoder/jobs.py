"""The episodes of all tasks, made in several processes."""

from collections.abc import Callable, Sequence
from multiprocessing import get_context
from pathlib import Path

from tqdm import tqdm

from experiments.small_encoder.dataset import TRAIN_SEEDS, VALIDATION_SEEDS, TaskWorld, make_clips
from experiments.small_encoder.learner import learn
from experiments.small_encoder.workspace import Recipe, Workspace
from rcjax.encoders import load_encoder
from rcjax.envs.registry import task_class
from rcjax.startup import prepare_environment

Make = Callable[[Path, str, str, Recipe], None]
"""Makes the clips of one task: (file, kind of clips, task, recipe)"""


def make_scripted(path: Path, kind: str, task: str, recipe: Recipe) -> None:
    """Writes the clips of a task's scripted behaviours: to train on, or (`held_out`) to evaluate on."""
    held_out = kind == "held_out"
    world = TaskWorld.build(task, VALIDATION_SEEDS if held_out else TRAIN_SEEDS)
    make_clips(world, recipe.held_out_episodes if held_out else recipe.episodes, 2 * recipe.seed + held_out).save(path)


def make_learned(path: Path, kind: str, task: str, recipe: Recipe) -> None:
    """Writes the clips of a policy that learns the task's prompt from the encoder of the round before."""
    round = int(kind.split("-")[1])
    encoder = load_encoder(Workspace(path.parent.parent).encoder(round - 1))
    world = TaskWorld.build(task, TRAIN_SEEDS)
    iterations, prompt = recipe.iterations_of(task), task_class(task).prompt
    clips, lines = learn(world, encoder, prompt, iterations, 1000 * recipe.seed + round)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".log").write_text("\n".join(lines) + "\n")
    clips.save(path)


def make_all(
    make: Make,
    workspace: Workspace,
    kind: str,
    tasks: Sequence[str],
    recipe: Recipe,
    workers: int,
) -> None:
    """Makes the clips of all tasks that have none yet, in several processes."""
    missing = [task for task in tasks if not workspace.clips(kind, task).exists()]
    jobs = [(make, workspace.clips(kind, task), kind, task, recipe) for task in missing]
    with get_context("spawn").Pool(workers, maxtasksperchild=TASKS_OF_A_PROCESS) as pool:
        done = pool.imap_unordered(_in_worker, jobs)
        for _ in tqdm(done, desc=f"episodes, {kind}", total=len(tasks), initial=len(tasks) - len(missing)):
            pass


TASKS_OF_A_PROCESS = 4  # compiled programs pile up in a process


def _in_worker(job: tuple[Make, Path, str, str, Recipe]) -> None:
    make, path, kind, task, recipe = job
    prepare_environment()
    make(path, kind, task, recipe)
