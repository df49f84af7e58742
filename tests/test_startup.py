"""What the command line prepares before a command runs."""

import os
import subprocess
import sys

import jax
import pytest

from rcjax import startup


@pytest.fixture
def kept_settings(monkeypatch):
    """Restores JAX's settings and the variables that `prepare_environment` changes."""
    monkeypatch.setattr(startup.jax.config, "update", lambda *_: None)
    for name in ("MPLCONFIGDIR", "MUJOCO_GL", "XLA_FLAGS"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return monkeypatch


def test_an_unknown_xla_flag_is_refused_before_it_aborts_the_process(kept_settings):
    startup.require_known_xla_flags()
    kept_settings.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=2")
    startup.require_known_xla_flags()
    kept_settings.setenv("XLA_FLAGS", "--xla_no_such_flag=1")
    with pytest.raises(ValueError, match="Unknown flag in XLA_FLAGS: --xla_no_such_flag=1; correct or unset it"):
        startup.require_known_xla_flags()


COUNT_DEVICES = (
    "import os, sys, jax; from rcjax import startup; startup.count_cores = lambda: int(sys.argv[1]); "
    "startup.use_cpu_cores(); print(jax.device_count())"
)


@pytest.mark.parametrize(
    ("cores", "variables", "n_devices"),
    [
        (3, {}, 3),
        (64, {}, startup.MAX_CPU_DEVICES),
        (3, {"JAX_NUM_CPU_DEVICES": "2"}, 2),
        (3, {"XLA_FLAGS": "--xla_force_host_platform_device_count=5"}, 5),
    ],
)
def test_a_cpu_is_a_device_for_each_core_unless_the_user_says_otherwise(cores, variables, n_devices):
    environment = {name: os.environ[name] for name in os.environ if name not in ("JAX_NUM_CPU_DEVICES", "XLA_FLAGS")}
    command = [sys.executable, "-c", COUNT_DEVICES, str(cores)]
    environment |= {"JAX_PLATFORMS": "cpu"} | variables
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert int(done.stdout) == n_devices


def test_cores_are_those_that_the_process_may_use():
    assert startup.count_cores() == len(os.sched_getaffinity(0))


def test_a_jax_that_has_started_keeps_its_devices(monkeypatch):
    before = jax.device_count()
    monkeypatch.delenv("JAX_NUM_CPU_DEVICES", raising=False)
    startup.use_cpu_cores()
    assert jax.device_count() == before


@pytest.mark.parametrize("error", [RuntimeError("Unable to initialize backend 'cuda': no GPU\nmore"), AssertionError()])
def test_a_platform_without_devices_is_refused(kept_settings, error):
    def devices():
        raise error

    kept_settings.setattr(jax, "devices", devices)
    kept_settings.setenv("JAX_PLATFORMS", "cuda")
    with pytest.raises(ValueError, match=r"^JAX can use no device with JAX_PLATFORMS='cuda' \(.*unset JAX_PLATFORMS"):
        startup.require_devices()


def test_a_cache_that_cannot_be_written_is_refused(kept_settings, tmp_path):
    (tmp_path / "file").write_text("")
    kept_settings.setenv("RCJAX_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(ValueError, match="set RCJAX_CACHE to a writable folder"):
        startup.use_caches()


@pytest.mark.parametrize("home", [None, "/proc/none"])
def test_without_a_writable_home_matplotlib_uses_the_cache(kept_settings, tmp_path, home):
    kept_settings.setenv("RCJAX_CACHE", str(tmp_path))
    if home is None:
        kept_settings.delenv("HOME", raising=False)
        kept_settings.setattr(startup.Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    else:
        kept_settings.setenv("HOME", home)
    startup.use_caches()
    assert os.environ["MPLCONFIGDIR"] == str(tmp_path / "matplotlib")


def test_mujoco_is_imported_without_opengl_and_its_variable_is_kept(kept_settings):
    seen = []
    kept_settings.setattr(startup.importlib, "import_module", lambda _: seen.append(os.environ["MUJOCO_GL"]))
    startup.import_mujoco()
    assert "MUJOCO_GL" not in os.environ
    kept_settings.setenv("MUJOCO_GL", "nonsense")
    startup.import_mujoco()
    assert os.environ["MUJOCO_GL"] == "nonsense"
    assert seen == ["disabled", "disabled"]


def test_closed_streams_are_redirected_to_the_null_device(monkeypatch):
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    startup.open_closed_streams()
    print("nobody", file=sys.stdout)
    print("reads this", file=sys.stderr, flush=True)
