"""Compiling for an NVIDIA GPU on a machine without one: what XLA has to be told of the GPU, and what ptxas says.

Needs the extra `gpu-aot`: JAX's CUDA plugin, which compiles without a driver, and NVIDIA's assembler ptxas.
"""

import dataclasses
import importlib.util
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
from jax.experimental import topologies

# The data sheet's numbers of an H100 SXM (80 GB), as XLA's cost model reads them.
H100 = """
gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32 shared_memory_per_block: 49152
  shared_memory_per_core: 233472 shared_memory_per_block_optin: 232448 threads_per_core_limit: 2048
  core_count: 132 fpus_per_core: 128 block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  memory_bandwidth: 3352320000000 l2_cache_size: 52428800 clock_rate_ghz: 1.98 device_memory_size: 84978434048
  cuda_compute_capability { major: 9 minor: 0 } registers_per_core_limit: 65536 registers_per_block_limit: 65536
}
platform_name: "CUDA" dnn_version_info { major: 9 minor: 8 patch: 0 } device_description_str: "NVIDIA H100 80GB HBM3"
"""
GPUS = {"h100": H100}
ARCHITECTURE = "sm_90a"
REGISTERS, MAX_WARPS, WARP = 65_536, 64, 32  # of a multiprocessor; threads of a warp


@dataclasses.dataclass(frozen=True)
class Kernel:
    """A kernel as assembled: its name, its registers a thread, and bytes that it spills to memory."""

    name: str
    registers: int
    spilled_bytes: int

    @property
    def occupancy(self) -> float:
        """The share of a multiprocessor's warps for which it has registers, which come in steps of eight a thread."""
        warp_registers = -(-self.registers // 8) * 8 * WARP
        return min(MAX_WARPS, REGISTERS // max(1, warp_registers)) / MAX_WARPS


def nvcc_folder() -> Path | None:
    """Returns the folder with NVIDIA's assembler, of the package nvidia-cuda-nvcc-cu12; None without it."""
    found = importlib.util.find_spec("nvidia")
    for place in (found.submodule_search_locations or []) if found else []:
        if (Path(place) / "cuda_nvcc" / "bin" / "ptxas").exists():
            return Path(place) / "cuda_nvcc"
    return None


def compiler_options() -> dict[str, Any]:
    """Returns the options without which nothing can be compiled where there is no GPU to try things out on.

    There is no autotuning, and matrix products are the library's.
    """
    return {
        "xla_gpu_cuda_data_dir": str(nvcc_folder()),
        "xla_gpu_enable_triton_gemm": False,
        "xla_gpu_autotune_level": 0,
    }


def gpu_devices(name: str) -> np.ndarray:
    """Returns one device of this GPU. Raises ValueError if the CUDA plugin or the assembler is not installed."""
    if importlib.util.find_spec("jax_cuda12_plugin") is None or nvcc_folder() is None:
        raise ValueError(
            f"topology {name!r} needs JAX's CUDA plugin and NVIDIA's assembler (pip install 'rcjax[gpu-aot]', in an "
            "environment of its own); or name a TPU like v5e:2x2."
        )
    described = topologies.get_topology_desc(
        platform="cuda", topology_name="1x1x1", topology="1x1x1", target_config=GPUS[name]
    )
    return np.array(described.devices)


def assembled_kernels(dump: Path) -> list[Kernel]:
    """Returns the kernels of the PTX files that XLA has dumped, those with the most registers first."""
    folder = nvcc_folder()
    assert folder is not None
    kernels = []
    for file in sorted(dump.glob("*.ptx")):
        command = [folder / "bin" / "ptxas", "-v", f"-arch={ARCHITECTURE}", "-o", os.devnull, file]
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True)
        kernels += parse_ptxas(done.stdout + done.stderr)
    return sorted(kernels, key=lambda kernel: -kernel.registers)


def parse_ptxas(text: str) -> list[Kernel]:
    """Returns the kernels of which `ptxas -v` reports."""
    spills = r"(\d+) bytes spill stores, (\d+) bytes spill loads"
    report = re.compile(rf"Compiling entry function '([^']+)'.*?{spills}.*?Used (\d+) registers", re.DOTALL)
    return [
        Kernel(name, int(registers), int(stores) + int(loads))
        for name, stores, loads, registers in report.findall(text)
    ]
