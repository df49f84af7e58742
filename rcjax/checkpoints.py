"""The training state on disk, one Orbax checkpoint an iteration kept, each with digests of its files.

Orbax does not notice a changed byte in an array's file; hence the digests. They are written just before Orbax gives the
checkpoint its final name, so a checkpoint is there with them or not at all.
"""

import contextlib
import json
import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath  # what Orbax takes for paths

from rcjax.devices import is_writer
from rcjax.files import digests, os_errors, refuse_changed
from rcjax.storage import RunFolder

KEPT_CHECKPOINTS = 2
DIGESTS = "digests.json"
ITEM = "default"  # Orbax's name for the folder of a checkpoint's only item
Arrays = dict[str, np.ndarray]


class Checkpoints:
    """Saves the training state by iteration. Close to be sure that all is on disk."""

    def __init__(self, run: RunFolder):
        writing = ocp.AsyncOptions(post_finalization_callback=self._write_digests)
        options = ocp.CheckpointManagerOptions(max_to_keep=KEPT_CHECKPOINTS, async_options=writing)
        self.path = checkpoints_path(run)
        self.manager = ocp.CheckpointManager(self.path, options=options)
        self._iteration = 0  # of the checkpoint that is being written

    def save(self, iteration: int, state: Any) -> None:
        """Raises OSError where it cannot be written; then the older ones are as they were."""
        if iteration in self.manager.all_steps():
            return
        self._iteration = iteration
        with os_errors(self.path), _silent_orbax():
            try:
                self.manager.save(iteration, args=ocp.args.StandardSave(_storable(state)))
                self.manager.wait_until_finished()
            except Exception:
                self._remove_part(iteration)
                raise

    def _remove_part(self, iteration: int) -> None:
        with contextlib.suppress(Exception):  # the first error is the one to be raised
            self.manager.wait_until_finished()  # other threads may be writing still
        for part in self.path.glob(f"{iteration}.orbax-checkpoint-tmp*"):
            shutil.rmtree(part, ignore_errors=True)

    def _write_digests(self) -> None:
        """Orbax calls this when all is written and the folder still has its temporary name."""
        for folder in self.path.glob(f"{self._iteration}.*tmp*/{ITEM}") if is_writer() else ():
            (folder.parent / DIGESTS).write_text(json.dumps(digests(folder), indent=1))

    def close(self) -> None:
        with os_errors(self.path), _silent_orbax():
            self.manager.wait_until_finished()
            self.manager.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


@contextlib.contextmanager
def _silent_orbax() -> Iterator[None]:
    """Without the traceback that Orbax's thread logs of an error that it raises too."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)


def checkpoints_path(run: RunFolder) -> Path:
    return (run.path / "checkpoints").absolute()


def saved_iterations(run: RunFolder) -> list[int]:
    """Of all checkpoints, intact or not, in their order."""
    path = checkpoints_path(run)
    names = [folder.name for folder in path.iterdir() if folder.is_dir()] if path.is_dir() else []
    return sorted(int(name) for name in names if name.isascii() and name.isdecimal() and name == str(int(name)))


def newest_intact(run: RunFolder, log: Callable[[str], None]) -> tuple[int, Arrays] | None:
    """The newest checkpoint that is whole: its iteration and arrays. None if there are no checkpoints.

    Says which newer ones are damaged; writes nothing. Raises ValueError if all that are there are damaged.
    """
    while True:
        iterations, faults = saved_iterations(run), {}
        for iteration in reversed(iterations):
            try:
                arrays = read_intact(checkpoints_path(run) / str(iteration))
            except ValueError as error:
                faults[iteration] = str(error)
                continue
            for newer, fault in faults.items():
                log(
                    f"The checkpoint of iteration {newer} in {checkpoints_path(run)} is damaged ({fault}); going on "
                    f"from the older one of iteration {iteration}."
                )
            return iteration, arrays
        if iterations == saved_iterations(run):  # else the run is being trained, and has replaced what was tried
            break
    if not iterations:
        return None
    reasons = ", ".join(f"{iteration}: {fault}" for iteration, fault in faults.items())
    raise ValueError(f"all checkpoints in {checkpoints_path(run)} are damaged ({reasons}); train anew.")


def set_aside(run: RunFolder, after: int) -> None:
    """Renames the checkpoints of later iterations to N.damaged, so that theirs can be saved again."""
    for iteration in saved_iterations(run):
        if iteration > after:
            folder, n = checkpoints_path(run) / str(iteration), 1
            while (aside := folder.with_name(f"{iteration}.damaged" + f"-{n}" * (n > 1))).exists():
                n += 1
            folder.rename(aside)


def read_intact(folder: Path) -> Arrays:
    """The arrays of one checkpoint, on the host. Raises ValueError, with the reason alone, if it is damaged."""
    item = folder / ITEM
    for needed in (folder / "_CHECKPOINT_METADATA", item / "_METADATA"):
        _refuse_bad_json(needed, folder)
    if (folder / DIGESTS).exists():  # what was saved before there were digests has none
        refuse_changed(item, folder / DIGESTS)
    try:
        arrays = read_arrays(item)
    except Exception as error:  # Orbax and TensorStore raise many kinds
        raise ValueError((str(error).strip() or type(error).__name__).splitlines()[0][:200]) from error
    if not np.array_equal(arrays.get(".iteration", -1), int(folder.name)):
        raise ValueError(f"it holds iteration {arrays.get('.iteration')}")
    return arrays


def read_arrays(item: Path) -> Arrays:
    """By this process alone: it waits for no other, whatever devices the checkpoint was saved from."""
    own, folder = jax.process_index(), epath.Path(item)
    options = ocp.options.MultiprocessingOptions(primary_host=own, active_processes={own})
    handler = ocp.PyTreeCheckpointHandler(multiprocessing_options=options)
    try:
        on_host = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), dict(handler.metadata(folder).tree))
        return handler.restore(folder, args=ocp.args.PyTreeRestore(restore_args=on_host))
    finally:
        handler.close()


def refuse_misfit(run: RunFolder, iteration: int, arrays: Arrays, like: Any) -> None:
    """Raises ValueError unless the arrays have the names, shapes and types of the state `like`, or of its shapes."""
    expected = {name: (leaf.shape, str(leaf.dtype)) for name, leaf in jax.eval_shape(_storable, like).items()}
    got = {name: (array.shape, str(array.dtype)) for name, array in arrays.items()}
    if got != expected:
        name = min(name for name in got | expected if got.get(name) != expected.get(name))
        raise ValueError(
            f"checkpoint {checkpoints_path(run) / str(iteration)} does not fit this run's config ({name} is "
            f"{_described(got.get(name))}, expected {_described(expected.get(name))}); restore its config.json or "
            "train anew."
        )


def restored(arrays: Arrays, like: Any) -> Any:
    """The state that was saved, in the structure and on the devices of `like`."""
    places = _storable(like)

    def leaf(path: Any, old: Any) -> jax.Array:
        name = jax.tree_util.keystr(path)
        array = arrays[name]
        new = jax.make_array_from_callback(array.shape, places[name].sharding, lambda index: array[index])
        return jax.random.wrap_key_data(new, impl=jax.random.key_impl(old)) if _is_key(old) else new

    return jax.tree_util.tree_map_with_path(leaf, like)


def _refuse_bad_json(file: Path, folder: Path) -> None:
    try:
        values = json.loads(file.read_bytes())
    except FileNotFoundError as error:
        raise ValueError(f"{file.relative_to(folder)} is missing") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{file.relative_to(folder)} cannot be read") from error
    if not isinstance(values, dict):
        raise ValueError(f"{file.relative_to(folder)} cannot be read")


def _described(array: tuple[tuple[int, ...], str] | None) -> str:
    return "missing" if array is None else f"{array[1]}{list(array[0])}"


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _storable(state: Any) -> dict[str, Any]:
    """Leaves by their path, typed keys as their data: what is on disk does not depend on our classes."""
    leaves = jax.tree_util.tree_leaves_with_path(state)
    return {jax.tree_util.keystr(path): jax.random.key_data(leaf) if _is_key(leaf) else leaf for path, leaf in leaves}
