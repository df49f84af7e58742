"""Run by test_checkpoints.py as each of two processes, which save a checkpoint together and each restore it.

Usage: python -m tests.checkpoints_processes FOLDER PORT PROCESS_ID.
"""

import sys
from pathlib import Path

import jax
import numpy as np

from rcjax.checkpoints import Checkpoints, checkpoints_path, load_newest_intact, read_checkpoint, restore_state
from rcjax.config import TrainConfig
from rcjax.devices import is_first_process, join_processes, make_layout, run_on_first_process
from rcjax.storage import RunFolder


def main() -> None:
    join_processes(f"localhost:{sys.argv[2]}", 2, int(sys.argv[3]))
    from tests.test_checkpoints import state_of  # it imports the environments, for which JAX looks for devices

    run, layout = RunFolder(Path(sys.argv[1]), TrainConfig()), make_layout(2, 1, jax.devices())
    host = state_of(3)
    shard = jax.jit(lambda state: state, out_shardings=layout.by_seed)
    learned = {name: shard(layout.replicate(getattr(host, name))) for name in ("ppo", "selected")}
    state = host.replace(**learned, iteration=layout.replicate(host.iteration))
    state = state.replace(key=jax.random.wrap_key_data(shard(layout.replicate(jax.random.key_data(host.key)))))
    with Checkpoints(run) as checkpoints:
        checkpoints.save(3, state)

    logged = []
    iteration = run_on_first_process(lambda: load_newest_intact(run, logged.append)[0], "the checkpoint is chosen")
    assert (iteration, logged) == (3, [])
    restored = restore_state(read_checkpoint(checkpoints_path(run) / "3"), state)
    assert restored.key.sharding == state.key.sharding
    for new, old in zip(jax.tree.leaves(restored.ppo), jax.tree.leaves(host.ppo), strict=True):
        for shard in new.addressable_shards:
            np.testing.assert_array_equal(shard.data, np.asarray(old)[shard.index])

    def refuse() -> int:
        raise ValueError("it is held")

    try:
        run_on_first_process(refuse, "the run is refused")
    except ValueError as error:
        reason = "it is held" if is_first_process() else "the first process could not start the run"
        assert str(error).startswith(reason)
        print("refused")


if __name__ == "__main__":
    main()
