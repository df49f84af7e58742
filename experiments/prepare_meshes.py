"""`python -m experiments.prepare_meshes` decimates the meshes of all tasks' scenes, and adds them to the package.

They are drawn at the size of the preset `demo`. Repeat this when the scenes, the decimation, or the versions of
metaworld and gymnasium-robotics change. Meshes that the package lacks are decimated when they are needed.
"""

import dataclasses
import sys
from pathlib import Path

from tqdm import tqdm

from experiments.entry import run
from rcjax import envs
from rcjax.config import demo
from rcjax.envs.registry import KITCHEN, MT50
from rcjax.render import meshes, prepared
from rcjax.world import task_scene


@dataclasses.dataclass(frozen=True)
class Command:
    """Decimate the meshes of all tasks' scenes."""

    out: Path = prepared.FILE
    """The file that is written."""


def main(command: Command) -> None:
    with prepared.asked_for() as asked:
        for task in tqdm((*MT50, *KITCHEN), desc="scenes"):
            env, _ = envs.make(task, seeds=(0,), backend="c")
            task_scene(env, demo().video)
    originals = {(prepared.digest(original), bound): original for original, bound in asked}  # many scenes share some
    found = {
        key: meshes.decimated_mesh(original, key[1])
        for key, original in tqdm(originals.items(), desc="meshes", mininterval=1)
    }
    prepared.write(found, meshes.VERSION, command.out)
    print(f"{len(found)} meshes of {sum(len(corners) for corners, _ in found.values())} triangles: {command.out}")


if __name__ == "__main__":
    sys.exit(run("prepare_meshes", Command, main, __doc__))
