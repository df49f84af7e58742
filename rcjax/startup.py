"""What the command line settles before a command runs: standard streams, environment variables, caches, devices."""

import importlib
import os
import subprocess
import sys
import warnings
from pathlib import Path

import jax

from rcjax.files import cache_folder, require_writable_folder

WAY_OUT = "set RCJAX_CACHE to a folder that can be written"


def open_closed_streams() -> None:
    """A process may be started with its output closed (`>&-`); what is printed goes nowhere then."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 (it stays open as long as the process)


def discard_output() -> None:
    """After a broken pipe: what is still in the buffers of standard output has nowhere to go."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):  # not a file of the system's
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115


def settle_environment() -> None:
    """Raises ValueError for a variable that would end the process later, and for a cache that cannot be written.

    64-bit mode is switched off: all of this package computes in 32 bits.
    """
    refuse_unknown_xla_flags()
    jax.config.update("jax_enable_x64", False)
    use_caches()
    import_mujoco()


def refuse_unknown_xla_flags() -> None:
    """XLA aborts the process at a flag that it does not know; so a process of its own is made to read them first."""
    if not os.environ.get("XLA_FLAGS"):
        return
    read = "from jaxlib import xla_client; xla_client.CompileOptions().executable_build_options.debug_options"
    done = subprocess.run([sys.executable, "-c", read], capture_output=True, text=True, errors="replace")
    if done.returncode:
        said = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[0].split("] ", 1)[-1]
        raise ValueError(f"XLA_FLAGS={os.environ['XLA_FLAGS']!r} is not what XLA takes: {said}; correct or unset it.")


def use_caches() -> None:
    """Compiled programs are kept between runs, unless JAX_COMPILATION_CACHE_DIR already says where.

    Raises ValueError where a cache cannot be written.
    """
    folder = cache_folder()
    require_writable_folder(folder, way_out=WAY_OUT)
    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        jax.config.update("jax_compilation_cache_dir", str(folder / "xla"))
    if not _home_can_be_written():  # matplotlib keeps its list of fonts there
        os.environ.setdefault("MPLCONFIGDIR", str(folder / "matplotlib"))
    # A disk that fills up later is said once, by what cannot do without.
    warnings.filterwarnings("ignore", message="Error (reading|writing) persistent compilation cache entry")


def _home_can_be_written() -> bool:
    try:
        return os.access(Path.home(), os.W_OK)
    except RuntimeError:  # there is none
        return False


def import_mujoco() -> None:
    """Without OpenGL, which nothing here draws with: a value of MUJOCO_GL that fails here is no obstacle."""
    wanted = os.environ.get("MUJOCO_GL")
    os.environ["MUJOCO_GL"] = "disabled"
    try:
        importlib.import_module("mujoco")
    finally:
        del os.environ["MUJOCO_GL"]
        if wanted is not None:
            os.environ["MUJOCO_GL"] = wanted


def require_devices() -> None:
    """Raises ValueError where JAX finds none."""
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:  # an assertion where the platform's plugin is missing
        platforms = os.environ.get("JAX_PLATFORMS")
        asked = f"JAX_PLATFORMS={platforms!r}" if platforms else "no platform asked for"
        reason = (str(error) or "its plugin is not installed").splitlines()[0]
        raise ValueError(
            f"JAX can use no device with {asked} ({reason}); unset JAX_PLATFORMS or set it to cpu, or install JAX for "
            "that device."
        ) from error
