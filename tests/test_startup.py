"""What the command line prepares before a command runs."""

import os
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
