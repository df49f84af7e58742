"""Measures the energy that a device reports."""

import shutil
import subprocess
import threading
import time
from pathlib import Path

RAPL = Path("/sys/class/powercap/intel-rapl:0")


class EnergyMeter:
    """Measures the joules that are used inside a `with` statement; `joules` is None if no device reports them.

    For NVIDIA GPUs, it samples the power.draw of all GPUs that nvidia-smi lists, twice per second. Otherwise it reads
    Intel's counter of the first processor package.
    """

    joules: float | None = None
    source: str | None = None

    def __enter__(self) -> "EnergyMeter":
        if shutil.which("nvidia-smi"):
            self.source, self._stop, self._samples = "nvidia-smi", threading.Event(), []
            self._thread = threading.Thread(target=self._sample, daemon=True)
            self._thread.start()
        elif (RAPL / "energy_uj").exists():
            try:
                self._start, self.source = int((RAPL / "energy_uj").read_text()), "intel-rapl"
            except PermissionError:
                self.source = None
        return self

    def __exit__(self, *_) -> None:
        if self.source == "nvidia-smi":
            self._stop.set()
            self._thread.join()
            self.joules = sum(watts * seconds for watts, seconds in self._samples) if self._samples else None
        elif self.source == "intel-rapl":
            used = int((RAPL / "energy_uj").read_text()) - self._start
            self.joules = (used % int((RAPL / "max_energy_range_uj").read_text())) / 1e6

    def _sample(self) -> None:
        command = ["nvidia-smi", "--query-gpu=power.draw", "--format=csv,noheader,nounits"]
        last = time.perf_counter()
        while not self._stop.wait(0.5):
            output = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
            now = time.perf_counter()
            try:
                self._samples.append((sum(map(float, output)), now - last))
            except ValueError:  # [N/A]
                return
            last = now
