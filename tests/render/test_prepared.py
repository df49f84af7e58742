"""The decimated meshes that come with the package."""

import pytest

from rcjax import envs
from rcjax.config import demo
from rcjax.render import meshes, prepared
from rcjax.render.decimate import measure_deviation
from rcjax.world import task_scene

DEFAULT = "drawer-close"
OTHERS = ("assembly", "coffee-push", "hammer", "kitchen-kettle", "kitchen-hinge")


@pytest.fixture
def no_decimation(tmp_path, monkeypatch):
    monkeypatch.setenv("RCJAX_CACHE", str(tmp_path))
    monkeypatch.setattr(meshes, "_decimate", lambda *_: pytest.fail("a mesh was decimated"))


@pytest.mark.parametrize("task", [DEFAULT, *(pytest.param(task, marks=pytest.mark.slow) for task in OTHERS)])
def test_a_first_run_of_the_preset_decimates_nothing(no_decimation, task):
    """If this fails after a change of scenes or of the decimation, run `python -m experiments.prepare_meshes`."""
    env, _ = envs.make(task, seeds=(0,), backend="c")
    task_scene(env, demo().video)


@pytest.fixture(scope="module")
def originals():
    """The meshes of the default task with their bounds in metres, the smallest first."""
    env, _ = envs.make(DEFAULT, seeds=(0,), backend="c")
    with prepared.asked_for() as asked:
        task_scene(env, demo().video)
    return sorted(asked, key=lambda mesh: len(mesh[0].corners))


@pytest.mark.parametrize("number", [0, 3, *(pytest.param(n, marks=pytest.mark.slow) for n in (5, 7, 9, -1))])
def test_a_mesh_stays_within_its_bound(originals, number):
    """Oracle: the distance of both surfaces, measured again."""
    original, bound = originals[number]
    corners, normals = prepared.find(original, bound, meshes.VERSION)
    assert len(corners) < len(original.corners) / 2 and corners.shape == normals.shape
    assert measure_deviation(original.corners, corners.astype(float), bound) <= bound * (1 + 1e-4)  # float32


def test_a_finer_mesh_is_taken_but_no_coarser_one(originals):
    original, bound = originals[-1]
    exact = prepared.find(original, bound, meshes.VERSION)
    coarser = prepared.find(original, 2 * bound, meshes.VERSION)
    assert len(coarser[0]) <= len(exact[0])
    assert prepared.find(original, bound / 10, meshes.VERSION) is None
    assert prepared.find(original, 10 * bound, meshes.VERSION) is None
    assert prepared.find(original, bound, meshes.VERSION + 1) is None


def test_what_is_written_is_found(originals, tmp_path, monkeypatch):
    (first, _), (other, _) = originals[:2]
    path = tmp_path / "prepared.npz"
    prepared.write({(prepared.digest(first), 0.1): (first.corners, first.normals)}, 7, path)
    monkeypatch.setattr(prepared, "FILE", path)
    prepared._bounds.cache_clear()
    try:
        corners, normals = prepared.find(first, 0.15, 7)
        assert (corners == first.corners).all() and (normals == first.normals).all()
        assert prepared.find(other, 0.15, 7) is None
    finally:
        prepared._bounds.cache_clear()
