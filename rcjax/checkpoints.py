"""The training state on disk: Orbax checkpoints of the newest iterations, each with digests of its files.

Orbax does not notice a changed byte in the file of an array, hence the digests. They are written just before Orbax
gives the checkpoint its final name, so a checkpoint either exists with its digests or does not exist.
"""

import contextlib
import json
import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath  # the paths that Orbax takes

from rcjax.devices import is_first_process
from rcjax.files import digests, require_unchanged, translate_tensorstore_errors
from rcjax.storage import RunFolder

KEPT_CHECKPOINTS = 2
DIGESTS = "digests.json"
ITEM = "default"  # Orbax's name for the folder of a checkpoint's only item
SELECTED = ".selected"  # begins the names of the arrays of selected policies
Arrays = dict[str, np.ndarray]
"""The leaves of a saved state by their path, e.g. ".ppo.params['log_std']"."""

State = TypeVar("State")


class Checkpoints:
    """Saves the training state by iteration, and keeps the newest two. Use it in a `with` statement."""

    def __init__(self, run: RunFolder):
        writing = ocp.AsyncOptions(post_finalization_callback=self._write_digests)
        options = ocp.CheckpointManagerOptions(max_to_keep=KEPT_CHECKPOINTS, async_options=writing)
        self.path = checkpoints_path(run)
        self.manager = ocp.CheckpointManager(self.path, options=options)
        self._iteration = 0  # of the checkpoint that is being written

    def save(self, iteration: int, state: Any) -> None:
        """Saves the state of `iteration`, unless it is saved already.

        Raises OSError if it cannot be written. The older checkpoints are unchanged then.
        """
        if iteration in self.manager.all_steps():
            return
        self._iteration = iteration
        with translate_tensorstore_errors(self.path), _silent_orbax():
            try:
                self.manager.save(iteration, args=ocp.args.StandardSave(_arrays_by_path(state)))
                self.manager.wait_until_finished()
            except Exception:
                self._remove_part(iteration)
                raise

    def _remove_part(self, iteration: int) -> None:
        with contextlib.suppress(Exception):  # the first error is the one to raise
            self.manager.wait_until_finished()  # other threads may still be writing
        for part in self.path.glob(f"{iteration}.orbax-checkpoint-tmp*"):
            shutil.rmtree(part, ignore_errors=True)

    def _write_digests(self) -> None:
        """Orbax calls this when everything is written but the folder still has its temporary name."""
        for folder in self.path.glob(f"{self._iteration}.*tmp*/{ITEM}") if is_first_process() else ():
            (folder.parent / DIGESTS).write_text(json.dumps(digests(folder), indent=1))

    def close(self) -> None:
        with translate_tensorstore_errors(self.path), _silent_orbax():
            self.manager.wait_until_finished()
            self.manager.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


@contextlib.contextmanager
def _silent_orbax() -> Iterator[None]:
    """Suppresses the traceback that Orbax's thread logs for an error that it also raises."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)


def checkpoints_path(run: RunFolder) -> Path:
    """Returns the absolute path of the folder of the run's checkpoints."""
    return (run.path / "checkpoints").absolute()


def saved_iterations(run: RunFolder) -> list[int]:
    """Returns the iterations of all checkpoints, intact or damaged, in increasing order."""
    path = checkpoints_path(run)
    names = [folder.name for folder in path.iterdir() if folder.is_dir()] if path.is_dir() else []
    return sorted(int(name) for name in names if name.isascii() and name.isdecimal() and name == str(int(name)))


def load_newest_intact(run: RunFolder, log: Callable[[str], None]) -> tuple[int, Arrays] | None:
    """Returns the iteration and the arrays of the newest intact checkpoint, or None if there are no checkpoints.

    Writes nothing. Newer checkpoints that are damaged are reported to `log`, one line each. Raises ValueError if all
    checkpoints are damaged.
    """
    while True:
        iterations, faults = saved_iterations(run), {}
        for iteration in reversed(iterations):
            try:
                arrays = read_checkpoint(checkpoints_path(run) / str(iteration))
            except ValueError as error:
                faults[iteration] = str(error)
                continue
            for newer, fault in faults.items():
                log(
                    f"The checkpoint of iteration {newer} in {checkpoints_path(run)} is damaged ({fault}); continuing "
                    f"from the older one of iteration {iteration}."
                )
            return iteration, arrays
        if iterations == saved_iterations(run):  # otherwise another process trains the run and has replaced them
            break
    if not iterations:
        return None
    reasons = ", ".join(f"{iteration}: {fault}" for iteration, fault in faults.items())
    raise ValueError(f"all checkpoints in {checkpoints_path(run)} are damaged ({reasons}); train a new run.")


def set_aside(run: RunFolder, after: int) -> None:
    """Renames the checkpoints of iterations after `after` to N.damaged, so that these iterations can be saved again."""
    for iteration in saved_iterations(run):
        if iteration > after:
            folder, n = checkpoints_path(run) / str(iteration), 1
            aside = folder.with_name(f"{iteration}.damaged")
            while aside.exists():
                n += 1
                aside = folder.with_name(f"{iteration}.damaged-{n}")
            folder.rename(aside)


def read_checkpoint(folder: Path) -> Arrays:
    """Returns the arrays of the checkpoint in `folder`, on the host.

    Raises ValueError if it is damaged; the message is the reason alone.
    """
    item = folder / ITEM
    for needed in (folder / "_CHECKPOINT_METADATA", item / "_METADATA"):
        _require_json_object(needed, folder)
    if (folder / DIGESTS).exists():  # the first versions saved no digests
        require_unchanged(item, folder / DIGESTS)
    try:
        arrays = read_arrays(item)
    except Exception as error:  # Orbax and TensorStore raise many types
        raise ValueError((str(error).strip() or type(error).__name__).splitlines()[0][:200]) from error
    if not np.array_equal(arrays.get(".iteration", -1), int(folder.name)):
        raise ValueError(f"it holds iteration {arrays.get('.iteration')}")
    return arrays


def read_arrays(item: Path) -> Arrays:
    """Returns the arrays of a checkpoint's item, on the host.

    This process reads them alone and waits for no other process, whatever devices the checkpoint was saved from.
    """
    own, folder = jax.process_index(), epath.Path(item)
    options = ocp.options.MultiprocessingOptions(primary_host=own, active_processes={own})
    handler = ocp.PyTreeCheckpointHandler(multiprocessing_options=options)
    try:
        on_host = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), dict(handler.metadata(folder).tree))
        return handler.restore(folder, args=ocp.args.PyTreeRestore(restore_args=on_host))
    finally:
        handler.close()


def require_matching_state(run: RunFolder, iteration: int, arrays: Arrays, like: Any) -> None:
    """Raises ValueError unless the arrays have the names, shapes and dtypes of `like`.

    `like` is a training state, or a training state of `jax.ShapeDtypeStruct`. Selected policies may be missing, because
    earlier versions selected none.
    """
    expected = {name: (leaf.shape, str(leaf.dtype)) for name, leaf in jax.eval_shape(_arrays_by_path, like).items()}
    got = {name: (array.shape, str(array.dtype)) for name, array in arrays.items()}
    if not any(name.startswith(SELECTED) for name in got):
        expected = {name: array for name, array in expected.items() if not name.startswith(SELECTED)}
    if got != expected:
        name = min(name for name in got | expected if got.get(name) != expected.get(name))
        raise ValueError(
            f"checkpoint {checkpoints_path(run) / str(iteration)} does not fit this run's config ({name} is "
            f"{_describe_array(got.get(name))}, expected {_describe_array(expected.get(name))}); restore its "
            "config.json or train a new run."
        )


def require_fitting(arrays: Arrays, like: Any, where: str) -> None:
    """Raises ValueError unless each array that `like` has too has its shape there; `where` names the arrays."""
    expected = {name: leaf.shape for name, leaf in jax.eval_shape(_arrays_by_path, like).items()}
    for name, array in arrays.items():
        if array.shape != expected.get(name, array.shape):
            raise ValueError(f"{where} has {name} of shape {array.shape}, expected {expected[name]}; use another run.")


def restore_state(arrays: Arrays, like: State) -> State:
    """Returns the saved state, with the structure of the state `like` and on its devices.

    What the saved state lacks is as it is in `like`.
    """
    placed = _arrays_by_path(like)

    def leaf(path: Any, old: Any) -> jax.Array:
        name = jax.tree_util.keystr(path)
        if name not in arrays:
            return old
        array = arrays[name]
        new = jax.make_array_from_callback(array.shape, placed[name].sharding, lambda index: array[index])
        return jax.random.wrap_key_data(new, impl=jax.random.key_impl(old)) if _is_key(old) else new

    return jax.tree_util.tree_map_with_path(leaf, like)


def _require_json_object(file: Path, folder: Path) -> None:
    try:
        values = json.loads(file.read_bytes())
    except FileNotFoundError as error:
        raise ValueError(f"{file.relative_to(folder)} is missing") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{file.relative_to(folder)} cannot be read") from error
    if not isinstance(values, dict):
        raise ValueError(f"{file.relative_to(folder)} cannot be read")


def _describe_array(array: tuple[tuple[int, ...], str] | None) -> str:
    return "missing" if array is None else f"{array[1]}{list(array[0])}"


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _arrays_by_path(state: Any) -> dict[str, jax.Array]:
    """Returns the leaves by their path, and random keys as their data, so that files do not depend on our classes."""
    leaves = jax.tree_util.tree_leaves_with_path(state)
    return {jax.tree_util.keystr(path): jax.random.key_data(leaf) if _is_key(leaf) else leaf for path, leaf in leaves}
