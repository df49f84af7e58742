"""The devices that share a run: a mesh of seeds by environments, over one or several processes."""

import dataclasses
import math
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

AXES = ("seed", "env")
COORDINATOR_TIMEOUT_S = 300  # how long a process waits for the first one to be started
PREPARATION_TIMEOUT_S = 3600  # how long processes wait for the first one to prepare a run
_FAILED = -1  # sent by the first process to the others

Device: TypeAlias = Any  # jax.Device, which type checkers do not accept as a type
Tree = TypeVar("Tree")


@dataclasses.dataclass(frozen=True)
class Layout:
    """Shardings over the mesh: arrays are replicated on all devices, or split by seed over the devices of the seeds."""

    mesh: Mesh

    @property
    def replicated(self) -> NamedSharding:
        return NamedSharding(self.mesh, P())

    @property
    def by_seed(self) -> NamedSharding:
        return NamedSharding(self.mesh, P("seed"))

    @property
    def n_devices(self) -> int:
        return self.mesh.size

    def replicate(self, tree: Tree) -> Tree:
        """Puts a tree of arrays on every device of the mesh. They may be on the host or on a device.

        With several processes, all of them have to give the same arrays.
        """
        if jax.process_count() == 1:
            return jax.device_put(tree, self.replicated)

        def replicate_leaf(x: Any) -> jax.Array:
            x = np.asarray(x)
            return jax.make_array_from_process_local_data(self.replicated, x, x.shape)

        return jax.tree.map(replicate_leaf, tree)


def make_layout(seeds: int, n_envs: int, devices: Sequence[Device]) -> Layout:
    """Returns a mesh over `devices`.

    Seeds are distributed first, because they do not communicate. If devices are left, they share the environments of a
    seed. Raises ValueError if seeds and environments cannot be distributed evenly.
    """
    shape = mesh_shape(seeds, n_envs, len(devices))
    return Layout(Mesh(np.array(devices).reshape(shape), AXES))


def mesh_shape(seeds: int, n_envs: int, n_devices: int) -> tuple[int, int]:
    """Returns the number of devices along the axes `seed` and `env`. Raises ValueError as `make_layout` does."""
    along_seeds = math.gcd(seeds, n_devices)
    along_envs = n_devices // along_seeds
    if n_envs % along_envs:
        usable = max_usable_devices(seeds, n_envs, n_devices)
        raise ValueError(
            f"{n_devices} devices cannot share {seeds} seed(s) of n_envs={n_envs} environments evenly; use "
            f"--devices {usable}, or an n_envs that is a multiple of {along_envs}."
        )
    return along_seeds, along_envs


def max_usable_devices(seeds: int, n_envs: int, n_devices: int) -> int:
    """Returns the largest number of devices, up to `n_devices`, that can share the work evenly."""
    return max(n for n in range(1, n_devices + 1) if n_envs % (n // math.gcd(seeds, n)) == 0)


def choose_devices(seeds: int, n_envs: int, requested: int | None) -> list[Device]:
    """Returns `requested` devices, or if that is None, as many of the available ones as can share the work evenly.

    Raises ValueError if fewer devices are available, or if a run of several processes does not use all devices.
    """
    devices = jax.devices()
    if requested is not None and not 1 <= requested <= len(devices):
        raise ValueError(f"--devices {requested}: there are {len(devices)} ({devices[0].device_kind}).")
    if jax.process_count() > 1:
        if requested not in (None, len(devices)):
            raise ValueError(
                f"--devices {requested} with --distributed: the run has to use all {len(devices)} devices."
            )
        return devices
    return devices[: requested or max_usable_devices(seeds, n_envs, len(devices))]


def join_processes(coordinator: str | None, processes: int | None, process_id: int | None) -> None:
    """Makes this process one of several that share a run. It has to be called before anything asks JAX for devices.

    If all arguments are None, they are detected under SLURM, Open MPI, Kubernetes (GKE) and on TPU pods.

    Args:
        coordinator: The address HOST:PORT of the first process.
        processes: The number of processes.
        process_id: The index of this process, from 0.

    Raises:
        ValueError: Nothing is detected, an argument is invalid, or the other processes do not answer.
    """
    _check_addresses(coordinator, processes, process_id)
    if coordinator is not None and process_id:
        _wait_for_coordinator(coordinator)
    try:
        jax.distributed.initialize(coordinator, processes, process_id)
    except (ValueError, RuntimeError) as error:
        raise ValueError(
            f"--distributed could not start: {str(error).splitlines()[0]} The processes are detected under SLURM, Open "
            "MPI, Kubernetes or on a TPU pod; elsewhere give --coordinator HOST:PORT, --processes N and --process-id I."
        ) from error


def _check_addresses(coordinator: str | None, processes: int | None, process_id: int | None) -> None:
    """Raises ValueError for arguments with which no process could connect. JAX would try for minutes and then abort."""
    given = (coordinator, processes, process_id)
    if given == (None, None, None):
        return
    if coordinator is None or processes is None or process_id is None:
        raise ValueError("--coordinator, --processes and --process-id belong together; give all three or none.")
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdecimal() or not 1 <= int(port) <= 65535:
        raise ValueError(f"--coordinator {coordinator!r}; it must be HOST:PORT, with a port from 1 to 65535.")
    try:
        socket.getaddrinfo(host.strip("[]"), int(port))
    except (OSError, UnicodeError) as error:
        raise ValueError(f"--coordinator {coordinator!r}: no such host ({error}).") from error
    if not 0 <= process_id < processes:
        raise ValueError(
            f"--process-id {process_id} of --processes {processes}; ids count from 0 and are less than --processes."
        )


def _wait_for_coordinator(coordinator: str) -> None:
    """Waits until the first process listens. Raises ValueError if it does not; JAX would abort the process."""
    host, _, port = coordinator.rpartition(":")
    deadline = time.monotonic() + COORDINATOR_TIMEOUT_S
    while True:
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
            return
        except OSError as error:
            if time.monotonic() > deadline:
                raise ValueError(
                    f"--coordinator {coordinator}: nothing answered there for {COORDINATOR_TIMEOUT_S} s ({error}); "
                    "start the process with --process-id 0 on that host, and check the port."
                ) from error
        time.sleep(1)


def wait_for_all_processes(what: str) -> None:
    """Waits until all processes have called this. `what` names the barrier, and each name can be used only once."""
    if jax.process_count() > 1:
        # With the processes named, they wait on the host and not in a collective operation.
        processes = set(range(jax.process_count()))
        ocp.multihost.sync_global_processes(what, timeout=PREPARATION_TIMEOUT_S, processes=processes)


def gather_from_processes(number: int) -> list[int]:
    """Returns the numbers of all processes, in their order. All processes have to call this."""
    if jax.process_count() == 1:
        return [number]
    return multihost_utils.process_allgather(np.array(number)).tolist()


def run_on_first_process(work: Callable[[], int], what: str) -> int:
    """Calls `work` in the first process only, and returns its result in all processes.

    The result must not be negative. An error of `work` is raised in the first process, and ValueError in the others.
    `what` names the barrier at which the others wait, as in `wait_for_all_processes`.
    """
    if jax.process_count() == 1:
        return work()
    number, failure = _FAILED, None
    if is_first_process():
        try:
            number = work()
        except BaseException as error:
            failure = error
    wait_for_all_processes(what)
    number = gather_from_processes(number)[0]
    if failure is not None:
        raise failure
    if number == _FAILED:
        raise ValueError("the first process could not start the run; its own message says why.")
    return number


def is_first_process() -> bool:
    """Returns whether this is the first process, which alone writes the run's files and prints messages."""
    return jax.process_index() == 0
