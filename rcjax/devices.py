"""Which devices share a run, and how: a mesh of seeds by environments, over one process or many."""

import dataclasses
import math
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

AXES = ("seed", "env")
COORDINATOR_TIMEOUT_S = 300  # that a process waits for the first one to be started
PREPARATION_TIMEOUT_S = 3600  # that processes wait for the first one to prepare a run
_FAILED = -1  # what the first process tells the others


@dataclasses.dataclass(frozen=True)
class Layout:
    """How arrays lie on the mesh: the same on every device, or each seed's on the seed's devices."""

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

    def replicate(self, tree: Any) -> Any:
        """Host or device arrays, the same in every process, on every device of the mesh."""
        if jax.process_count() == 1:
            return jax.device_put(tree, self.replicated)

        def everywhere(x: Any) -> jax.Array:
            x = np.asarray(x)
            return jax.make_array_from_process_local_data(self.replicated, x, x.shape)

        return jax.tree.map(everywhere, tree)


def make_layout(seeds: int, n_envs: int, devices: Sequence[Any]) -> Layout:
    """A mesh over `devices`.

    Seeds are dealt out first, as they have nothing to tell each other; what devices are left share a seed's
    environments.

    Raises ValueError where seeds and environments cannot be dealt out evenly.
    """
    shape = mesh_shape(seeds, n_envs, len(devices))
    return Layout(Mesh(np.array(devices).reshape(shape), AXES))


def mesh_shape(seeds: int, n_envs: int, n_devices: int) -> tuple[int, int]:
    """Devices along the axes `seed` and `env`."""
    along_seeds = math.gcd(seeds, n_devices)
    along_envs = n_devices // along_seeds
    if n_envs % along_envs:
        usable = largest_usable(seeds, n_envs, n_devices)
        raise ValueError(
            f"{n_devices} devices cannot share {seeds} seed(s) of n_envs={n_envs} environments evenly; use "
            f"--devices {usable}, or an n_envs that is a multiple of {along_envs}."
        )
    return along_seeds, along_envs


def largest_usable(seeds: int, n_envs: int, n_devices: int) -> int:
    """The most devices, up to `n_devices`, that can share the work evenly."""
    return max(n for n in range(1, n_devices + 1) if n_envs % (n // math.gcd(seeds, n)) == 0)


def choose_devices(seeds: int, n_envs: int, wanted: int | None) -> list[Any]:
    """`wanted` devices, or (None) as many of all there are as can share the work evenly.

    Raises ValueError if there are fewer than wanted, or if several processes cannot all take part.
    """
    devices = jax.devices()
    if wanted is not None and not 1 <= wanted <= len(devices):
        raise ValueError(f"--devices {wanted}: there are {len(devices)} ({devices[0].device_kind}).")
    if jax.process_count() > 1:
        if wanted not in (None, len(devices)):
            raise ValueError(f"--devices {wanted} with --distributed: every one of the {len(devices)} takes part.")
        return devices
    return devices[: wanted or largest_usable(seeds, n_envs, len(devices))]


def join_processes(coordinator: str | None, processes: int | None, process_id: int | None) -> None:
    """Makes this process one of a run's many; before anything else asks JAX for devices.

    With no arguments they are read off SLURM, Open MPI, Kubernetes (GKE) or a TPU pod. Raises ValueError where nothing
    is found, or the others do not answer.
    """
    _check_addresses(coordinator, processes, process_id)
    if coordinator is not None and process_id:
        _wait_for_coordinator(coordinator)
    try:
        jax.distributed.initialize(coordinator, processes, process_id)
    except (ValueError, RuntimeError) as error:
        raise ValueError(
            f"--distributed could not start: {str(error).splitlines()[0]} Under SLURM, Open MPI, Kubernetes or on a "
            "TPU pod all is detected; elsewhere give --coordinator HOST:PORT, --processes N and --process-id I."
        ) from error


def _check_addresses(coordinator: str | None, processes: int | None, process_id: int | None) -> None:
    """Raises ValueError for what no process could connect to, as JAX would try for minutes and then abort."""
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
    """Until the first process listens. Raises ValueError if it does not, where JAX would abort the process."""
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


def wait_for_all(what: str) -> None:
    """Until all processes have come here, once in a program's life for each `what`."""
    if jax.process_count() > 1:
        everyone = set(range(jax.process_count()))  # named, so that they wait on the host, not in a collective
        ocp.multihost.sync_global_processes(what, timeout=PREPARATION_TIMEOUT_S, processes=everyone)


def of_all_processes(number: int) -> list[int]:
    """This number of each process, in their order; all have to call it."""
    if jax.process_count() == 1:
        return [number]
    return multihost_utils.process_allgather(np.array(number)).tolist()


def of_first_process(work: Callable[[], int], what: str) -> int:
    """What `work`, which only the first process does, gives there; its error ends all of them. `what` as for
    `wait_for_all`."""
    if jax.process_count() == 1:
        return work()
    number, failure = _FAILED, None
    if is_writer():
        try:
            number = work()
        except BaseException as error:
            failure = error
    wait_for_all(what)
    number = of_all_processes(number)[0]
    if failure is not None:
        raise failure
    if number == _FAILED:
        raise ValueError("the first process could not begin; it has said why.")
    return number


def is_writer() -> bool:
    """Whether this process writes the run's files and talks to people: the first one does."""
    return jax.process_index() == 0
