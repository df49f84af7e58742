"""Run by test_checkpoints.py as each of two processes: what they save together, each restores.

Usage: python -m tests.checkpoints_processes FOLDER PORT PROCESS_ID.
"""

import sys
from pathlib import Path

import jax
import numpy as np

from rcjax.checkpoints import Checkpoints, checkpoints_path, newest_intact, read_intact, restored
from rcjax.config import TrainConfig
from rcjax.devices import is_writer, join_processes, make_layout, of_first_process
from rcjax.storage import RunFolder
from tests.test_checkpoints import state_of


def main() -> None:
    join_processes(f"localhost:{sys.argv[2]}", 2, int(sys.argv[3]))
    run, layout = RunFolder(Path(sys.argv[1]), TrainConfig()), make_layout(2, 1, jax.devices())
    host = state_of(3)
    lay = jax.jit(lambda state: state, out_shardings=layout.by_seed)
    state = host.replace(ppo=lay(layout.replicate(host.ppo)), iteration=layout.replicate(host.iteration))
    state = state.replace(key=jax.random.wrap_key_data(lay(layout.replicate(jax.random.key_data(host.key)))))
    with Checkpoints(run) as checkpoints:
        checkpoints.save(3, state)

    said = []
    iteration = of_first_process(lambda: newest_intact(run, said.append)[0], "the checkpoint is chosen")
    assert (iteration, said) == (3, [])
    back = restored(read_intact(checkpoints_path(run) / "3"), state)
    assert back.key.sharding == state.key.sharding
    for new, old in zip(jax.tree.leaves(back.ppo), jax.tree.leaves(host.ppo), strict=True):
        for shard in new.addressable_shards:
            np.testing.assert_array_equal(shard.data, np.asarray(old)[shard.index])

    def refuse() -> int:
        raise ValueError("it is held")

    try:
        of_first_process(refuse, "the run is refused")
    except ValueError as error:
        assert str(error) == ("it is held" if is_writer() else "the first process could not begin; it has said why.")
        print("refused")


if __name__ == "__main__":
    main()
