"""What the command line prepares before a command: standard streams, environment variables, caches and devices."""

import contextlib
import importlib
import os
import subprocess
import sys
import warnings
from pathlib import Path

import jax

from rcjax.files import cache_folder, require_writable_folder

MAX_CPU_DEVICES = 8  # each of them repeats the updates of its seeds; more were not measured
CACHE_HINT = "set RCJAX_CACHE to a writable folder"


def open_closed_streams() -> None:
    """Redirects standard output and error to the null device where the process was started with them closed (`>&-`)."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 (stays open until the process ends)


def discard_output() -> None:
    """Redirects standard output to the null device after a broken pipe, so that flushing its buffer does not fail."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):  # standard output has no file descriptor
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115


def prepare_environment(share_cpu: bool = True) -> None:
    """Sets up the caches, imports MuJoCo, and switches JAX's 64-bit mode off, as this package computes in 32 bits.

    With `share_cpu`, JAX sees a CPU as several devices (`use_cpu_cores`). Raises ValueError for an environment variable
    that would abort the process later, and for a cache that cannot be written.
    """
    require_known_xla_flags()
    jax.config.update("jax_enable_x64", False)
    if share_cpu:
        use_cpu_cores()
    use_caches()
    import_mujoco()
    silence_mujoco()


def require_known_xla_flags() -> None:
    """Raises ValueError if XLA_FLAGS has a flag that XLA does not know.

    XLA aborts a process that has an unknown flag, so another process reads the flags first.
    """
    if not os.environ.get("XLA_FLAGS"):
        return
    code = "from jaxlib import xla_client; xla_client.CompileOptions().executable_build_options.debug_options"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, errors="replace")
    if done.returncode:
        reason = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[0].split("] ", 1)[-1]
        raise ValueError(f"XLA rejects XLA_FLAGS={os.environ['XLA_FLAGS']!r}: {reason}; correct or unset it.")


def use_cpu_cores() -> None:
    """Lets JAX see a CPU as one device for each core, of at most `MAX_CPU_DEVICES`.

    XLA steps a batch of environments on a single core, and devices share the environments of a run. The number of
    devices that JAX_NUM_CPU_DEVICES or XLA_FLAGS states, or that JAX has already started with, is left as it is.
    """
    stated = "JAX_NUM_CPU_DEVICES" in os.environ
    if stated or "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", ""):
        return
    with contextlib.suppress(RuntimeError):  # JAX has started already
        jax.config.update("jax_num_cpu_devices", min(count_cores(), MAX_CPU_DEVICES))


def count_cores() -> int:
    """Returns the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def use_caches() -> None:
    """Lets JAX keep compiled programs between runs, in the cache folder unless JAX_COMPILATION_CACHE_DIR is set.

    Raises ValueError if the cache cannot be written.
    """
    folder = cache_folder()
    require_writable_folder(folder, hint=CACHE_HINT)
    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        jax.config.update("jax_compilation_cache_dir", str(folder / "xla"))
    if not _home_is_writable():  # matplotlib keeps its list of fonts there
        os.environ.setdefault("MPLCONFIGDIR", str(folder / "matplotlib"))
    # If the disk fills up later, that is reported once, by the writer that cannot continue.
    warnings.filterwarnings("ignore", message="Error (reading|writing) persistent compilation cache entry")


def _home_is_writable() -> bool:
    try:
        return os.access(Path.home(), os.W_OK)
    except RuntimeError:  # there is no home directory
        return False


def import_mujoco() -> None:
    """Imports MuJoCo without OpenGL, which this package does not need, so that an invalid MUJOCO_GL does no harm."""
    original = os.environ.get("MUJOCO_GL")
    os.environ["MUJOCO_GL"] = "disabled"
    try:
        importlib.import_module("mujoco")
    finally:
        del os.environ["MUJOCO_GL"]
        if original is not None:
            os.environ["MUJOCO_GL"] = original


def silence_mujoco() -> None:
    """Switches off C MuJoCo's warnings of unstable physics, which it prints and writes into the working directory.

    Such steps are counted as diverged, as those of MJX are.
    """
    importlib.import_module("mujoco").set_mju_user_warning(lambda message: None)


def require_devices() -> None:
    """Raises ValueError if JAX finds no device."""
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:  # an AssertionError if the platform's plugin is missing
        platforms = os.environ.get("JAX_PLATFORMS")
        setting = f"JAX_PLATFORMS={platforms!r}" if platforms else "JAX_PLATFORMS unset"
        reason = (str(error) or "its plugin is not installed").splitlines()[0]
        raise ValueError(
            f"JAX can use no device with {setting} ({reason}); unset JAX_PLATFORMS or set it to cpu, or install JAX "
            "for that device."
        ) from error
