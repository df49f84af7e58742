"""The edited scene compared with the official XML, both loaded by MuJoCo."""

import dataclasses

import mujoco
import numpy as np
import pytest

from rcjax import envs
from rcjax.envs import scenes
from rcjax.envs.warp_physics import contact_capacity


@pytest.fixture(scope="module")
def official_model(drawer):
    return mujoco.MjModel.from_xml_path(str(scenes.asset_path(drawer[0].scene.xml)))


def added(model, i):
    return model.geom(i).name.startswith((scenes.PROXY_PREFIX, scenes.MARKER_PREFIX))


def look(model, i):
    """Returns everything that a renderer reads of a geom except its pose."""
    geom = model.geom(i)
    material, mesh = int(geom.matid[0]), int(geom.dataid[0])
    return (
        geom.name,
        int(geom.type[0]),
        int(geom.group[0]),
        geom.rgba.tolist(),
        geom.size.tolist(),
        model.material(material).name if material >= 0 else None,
        model.mesh(mesh).name if mesh >= 0 else None,
    )


def places(model):
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    return np.hstack([data.geom_xpos, data.geom_xmat])


def test_official_geoms_keep_their_looks_and_places(drawer, official_model):
    """Fusing static bodies, and making a base a mocap body, reorders geoms but moves none and changes no appearance."""
    model = drawer[0].mj_model
    ours, theirs = places(model), places(official_model)
    left = [i for i in range(model.ngeom) if not added(model, i)]
    for j in range(official_model.ngeom):
        same = [
            i for i in left
            if look(model, i) == look(official_model, j) and np.abs(ours[i] - theirs[j]).max() < 1e-9  # float64
        ]  # fmt: skip
        assert same, f"{look(official_model, j)} is not there"
        left.remove(same[0])
    assert not left


def test_collisions_are_the_explicit_pairs_only(drawer):
    model = drawer[0].mj_model
    assert not model.geom_contype.any()
    assert not model.geom_conaffinity.any()
    names = {model.geom(i).name for i in {*model.pair_geom1, *model.pair_geom2}}
    assert all(name.startswith(scenes.PROXY_PREFIX) for name in names)
    assert all(model.geom(name).group[0] == scenes.PROXY_GROUP for name in names)
    assert names == {model.geom(i).name for i in range(model.ngeom) if "proxy:" in model.geom(i).name}


def test_shapes_on_which_mjx_differs_from_c_mujoco_are_refused(drawer):
    hand = {"box": (scenes.Proxy("knuckle", "hand", "box", (0.01, 0.01, 0.01)),)}
    spec = scenes.SceneSpec(
        xml=drawer[0].scene.xml,
        placed_bodies=(),
        proxies=(scenes.Proxy("front", "drawer_link", "box", (0.1, 0.008, 0.052)),),
    )
    with pytest.raises(ValueError, match=r"knuckle and front collide as box.*Use spheres against boxes"):
        scenes.build_model(spec, hand, ("hand",))


def test_contacts_stay_few(drawer):
    """They determine what a step costs in MJX, which always computes every pair."""
    from mujoco import mjx

    _, params = drawer
    data = mjx.make_data(params.mjx_model)
    assert data._impl.ncon == 16
    assert data._impl.nefc == 65


@pytest.mark.parametrize("task", envs.MT50)
def test_no_scene_has_many_contacts(task):
    """At most forty, except with the table with a hole, whose four parts also collide with the cube."""
    contacts, _ = contact_capacity(envs.TASKS[task]().mj_model)
    assert contacts <= (42 if task in ("hand-insert", "sweep-into") else 40)


def test_visible_sites_have_markers_where_the_sites_are(drawer):
    env, params = drawer
    model = env.mj_model
    _, state = env.reset_env_at(2, params)
    for i in range(model.nsite):
        site = model.site(i)
        visible = site.rgba[3] > 0 and site.group[0] < 3
        assert visible == any(model.geom(g).name == f"marker:{site.name}" for g in range(model.ngeom))
        if visible and site.name != "goal":
            place = state.physics.poses.geom_pos[model.geom(f"marker:{site.name}").id]
            np.testing.assert_allclose(place, state.physics.poses.site_pos[i], atol=1e-6)
    goal = state.physics.poses.geom_pos[model.geom("marker:goal").id]
    np.testing.assert_allclose(goal, state.task.target_pos, atol=1e-6)


def test_weld_is_the_official_one(drawer):
    model = drawer[0].mj_model
    np.testing.assert_array_equal(model.eq_data[0, :11], [0, 0, 0, 0, 0, 0, -1, 0, 0, 0, 5])


def hand_sphere(radius=0.01):
    return scenes.Proxy("knuckle", "hand", "sphere", (radius,))


def drawer_with(drawer, *pairs, proxies=()):
    front = scenes.Proxy("front", "drawer_link", "box", (0.1, 0.008, 0.052), role="internal")
    spec = scenes.SceneSpec(
        xml=drawer[0].scene.xml, placed_bodies=(), proxies=(front, hand_sphere(), *proxies), extra_pairs=pairs
    )
    spec = dataclasses.replace(
        spec, proxies=tuple(dataclasses.replace(proxy, role="internal") for proxy in spec.proxies)
    )
    return scenes.build_model(spec, {}, ("hand",))


def test_the_hands_proxies_are_larger_by_their_margin(drawer):
    model = drawer_with(drawer, scenes.Pair("knuckle", "front", margin=0.001))
    assert model.geom("proxy:knuckle").size[0] == pytest.approx(0.011)
    assert model.geom("proxy:front").size[0] == 0.1
    assert not model.pair_margin.any()


def test_a_margin_without_the_hand_and_two_margins_of_one_proxy_are_refused(drawer):
    other = scenes.Proxy("other", "world", "sphere", (0.01,))
    with pytest.raises(ValueError, match=r"front and other have a margin.*enlarge one"):
        drawer_with(drawer, scenes.Pair("front", "other", margin=0.001), proxies=(other,))
    with pytest.raises(ValueError, match="different margins"):
        pairs = (scenes.Pair("knuckle", "front", margin=0.001), scenes.Pair("knuckle", "other"))
        drawer_with(drawer, *pairs, proxies=(other,))


@pytest.mark.parametrize("task", envs.MT50)
def test_pairs_are_ones_that_mjx_treats_as_c_mujoco_does(task):
    """No pair has a margin, which MJX ignores between a sphere and a box. With an elliptic cone no contact is
    frictionless, which MJX refuses. Shapes that differ are refused when a scene is built."""
    model = envs.TASKS[task]().mj_model
    assert not model.pair_margin.any()
    if model.opt.cone == mujoco.mjtCone.mjCONE_ELLIPTIC:
        assert (model.pair_dim > 1).all()
