"""Draws with MJX-Warp's ray tracer behind the same interface as the JAX renderer.

It needs the extra `warp` and runs on CUDA or, slowly, on Warp's CPU target. Warp is not imported before
`build_warp_scene`. `mujoco.mjx.render` runs inside jitted programs, but keeps its bounding volume hierarchies outside
JAX, in a context made for a fixed number of frames. It draws what never moves again in every frame, has no transparency
and no reflections, and rounds colours down.
"""

import copy
import dataclasses
import importlib.util
import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from jax import Array
from jaxtyping import Float, UInt8, UInt32

from rcjax.pytree import PyTree
from rcjax.render.build import DRAWN_GROUPS
from rcjax.render.camera import Camera, View, find_camera, make_camera
from rcjax.render.motion import PoseUpdates, body_pose_updates, placed_data, refuse_moving_lights
from rcjax.render.scene import require_poses
from rcjax.render.shade import geom_rgba
from rcjax.types import GeomPoses

JaxDevice: TypeAlias = Any
"""A `jax.Device`, which type checkers do not accept as a type."""
MjxModel: TypeAlias = Any
"""A `mujoco.mjx.Model`. MJX is imported late, as it imports Warp."""
MjxData: TypeAlias = Any
"""A `mujoco.mjx.Data`."""
RenderContext: TypeAlias = Any
"""What `mujoco.mjx.create_render_context` returns."""

_GRAPH_MODES = ("none", "jax", "warp", "warp_staged", "warp_staged_ex")


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True, eq=False)
class WarpStatic:
    """What a program is compiled for. It holds the context, whose buffers must live as long as the program."""

    context: RenderContext
    max_frames: int  # the number of frames that every call draws
    size: int  # pixels along a frame's side
    pose_geoms: tuple[int, ...]  # ids of the geoms whose poses are given
    is_flipped: tuple[bool, bool]  # whether rows and columns are drawn in reverse order
    far: float  # depth of the far plane, metres
    has_depth: bool


class WarpScene(PyTree):
    """The scene that `render_frames` draws with MJX-Warp. `data` is one world with the poses of its initial state."""

    static: WarpStatic
    model: MjxModel
    data: MjxData

    @property
    def pose_geoms(self) -> tuple[int, ...]:
        """Ids of the geoms whose poses `render_frames` needs, in order."""
        return self.static.pose_geoms

    @property
    def size(self) -> int:
        """Pixels along a frame's side."""
        return self.static.size


def build_warp_scene(
    model: mujoco.MjModel,
    *,
    view: View,
    max_frames: int,
    episode_fixed_bodies: Sequence[str] = (),
    data: mujoco.MjData | None = None,
    geom_groups: Sequence[int] = DRAWN_GROUPS,
    shadows: bool = False,
    samples: int = 1,
    depth: bool = False,
    graph_mode: str | None = None,
) -> WarpScene:
    """Builds a scene that `render_frames` draws with MJX-Warp, always `max_frames` frames at a time.

    A call with fewer frames (N F) is allowed and takes as long as one with `max_frames`.

    All calls with one scene share its context. Map over micro-batches with `jax.lax.map`, which orders the calls. Do
    not `vmap` or shard a call, and do not put two calls that do not depend on each other into one program.

    Args:
        model: The model.
        view: See `build_scene`.
        max_frames: The number of frames that every call draws.
        episode_fixed_bodies: See `build_scene`; here the poses of these bodies are read from every frame.
        data: See `build_scene`.
        geom_groups: See `build_scene`.
        shadows: Whether the lights with `castshadow` cast shadows.
        samples: Samples per pixel; a square number, as Warp averages a grid.
        depth: Whether depth is drawn, which `render_depth` needs.
        graph_mode: Who records CUDA graphs: "none", "jax", "warp", "warp_staged" or "warp_staged_ex". By default, MJX
            chooses.

    Raises:
        ValueError: Warp or a device for it is missing, MJX-Warp does not support the model, the model has skins or
            flexes, or its camera or lights cannot be drawn.
    """
    device = _require_warp()
    _check_options(max_frames, samples, graph_mode)
    if model.nskin or model.nflex:
        raise ValueError(f"the model has {model.nskin} skins and {model.nflex} flexes, which cannot be drawn.")
    placed = placed_data(model, data)
    pose_updates = body_pose_updates(model, episode_fixed_bodies)
    camera_id = _fixed_camera(model, pose_updates, view)
    camera = make_camera(model, placed, view)
    model = _with_camera_rays(model, camera_id, camera, view.size)
    context = _make_context(
        model,
        device,
        nworld=max_frames,
        cam_res=(view.size, view.size),
        cam_active=[camera_id],
        render_depth=depth,
        use_shadows=shadows,
        samples_per_pixel=math.isqrt(samples),
        enabled_geom_groups=list(geom_groups),
    )
    mjx_model, mjx_data = _put_on_device(model, placed, camera_id, camera, graph_mode, device)
    drawn = [g for g in range(model.ngeom) if model.geom_group[g] in geom_groups and geom_rgba(model, g)[3] > 0]
    static = WarpStatic(
        context=context,
        max_frames=max_frames,
        size=view.size,
        pose_geoms=tuple(g for g in drawn if pose_updates[model.geom_bodyid[g]]),
        is_flipped=(bool(camera.dy > 0), bool(camera.dx < 0)),
        far=float(camera.far),
        has_depth=depth,
    )
    return WarpScene(static=static, model=mjx_model, data=mjx_data)


def warp_frames(scene: WarpScene, poses: GeomPoses) -> UInt8[Array, "N F H W 3"]:
    """`render_frames` for a `WarpScene`. Raises ValueError if N F is above the scene's `max_frames`."""
    packed, _ = _trace_rays(scene, poses)
    channels = (packed[..., None] >> jnp.array([16, 8, 0], jnp.uint32)) & 255
    return _as_viewed(scene, poses, channels.astype(jnp.uint8))


def warp_depth(scene: WarpScene, poses: GeomPoses) -> Float[Array, "N F H W"]:
    """`render_depth` for a `WarpScene`. Raises ValueError unless the scene was built with `depth=True`."""
    if not scene.static.has_depth:
        raise ValueError("this WarpScene draws no depth; build it with build_warp_scene(..., depth=True).")
    _, depth = _trace_rays(scene, poses)
    return _as_viewed(scene, poses, jnp.where(depth > 0, depth, scene.static.far))  # 0 where a ray hits nothing


def _trace_rays(scene: WarpScene, poses: GeomPoses) -> tuple[UInt32[Array, "J pixels"], Float[Array, "J depths"]]:
    """Packed colours and depths of all frames, in the camera's own pixel order."""
    from mujoco import mjx

    require_poses(scene, poses)
    context = scene.static.context.pytree()
    data = mjx.refit_bvh(scene.model, _frame_worlds(scene, poses), context)
    colour, depth, _ = mjx.render(scene.model, data, context)
    return colour, depth


def _frame_worlds(scene: WarpScene, poses: GeomPoses) -> MjxData:
    """The data with a leading axis of frames on all fields that the two calls read."""
    n_worlds, batch_shape = scene.static.max_frames, poses.pos.shape[:2]
    n_padding = n_worlds - math.prod(batch_shape)
    if n_padding < 0:
        raise ValueError(
            f"poses of {batch_shape[0]} episodes of {batch_shape[1]} frames for a WarpScene of max_frames={n_worlds}; "
            f"build it with max_frames={math.prod(batch_shape)}, or draw fewer at a time."
        )
    rows = np.asarray(scene.pose_geoms, np.int32)

    def repeat(x):
        return jnp.broadcast_to(x, (n_worlds, *x.shape))

    def set_poses(x, given):
        given = given.reshape(-1, *given.shape[2:])
        filled = jnp.concatenate([given, jnp.broadcast_to(given[:1], (n_padding, *given.shape[1:]))])
        return repeat(x).at[:, rows].set(filled)

    data = scene.data
    public = {name: repeat(getattr(data, name)) for name in ("qpos", "cam_xpos", "cam_xmat")}
    private = {name: repeat(getattr(data._impl, name)) for name in _PRIVATE_FIELDS}
    return data.replace(
        **public,
        geom_xpos=set_poses(data.geom_xpos, poses.pos),
        geom_xmat=set_poses(data.geom_xmat, poses.mat),
        _impl=data._impl.replace(**private),
    )


_PRIVATE_FIELDS = ("light_xpos", "light_xdir", "flexvert_xpos", "_jax_token")
"""Private fields of the data that `mujoco.mjx.render` reads; the token makes it run after `refit_bvh`."""


def _as_viewed(scene: WarpScene, poses: GeomPoses, pixels: Array) -> Array:
    """Reshapes pixels [J pixels ..] to frames [N F H W ..], flipped as the view requires."""
    static = scene.static
    frames = pixels[: math.prod(poses.pos.shape[:2])]
    frames = frames.reshape(*poses.pos.shape[:2], static.size, static.size, *pixels.shape[2:])
    return jnp.flip(frames, [axis for axis, is_flipped in zip((2, 3), static.is_flipped, strict=True) if is_flipped])


def _require_warp() -> JaxDevice:
    """JAX's first device, on which Warp will draw. Raises ValueError if Warp is missing or cannot use it."""
    install_hint = "MJX-Warp needs the package warp-lang: pip install 'rcjax[warp]'"
    if importlib.util.find_spec("warp") is None:  # checked first, as importing MJX without Warp prints warnings
        raise ValueError(install_hint)
    import mujoco.mjx.warp as mjx_warp

    if not mjx_warp.WARP_INSTALLED:
        raise ValueError(install_hint)
    device = jax.devices()[0]
    is_cuda = device.platform == "gpu" and "rocm" not in device.client.platform_version.lower()
    if not (is_cuda or device.platform == "cpu"):
        raise ValueError(
            f"MJX-Warp draws on CUDA GPUs and CPUs, not on {device}; use build_scene, which draws on any device."
        )
    if is_cuda and not mjx_warp.warp.is_cuda_available():
        raise ValueError("JAX has a CUDA GPU but Warp finds none; update the driver, or run JAX on the CPU.")
    return device


def _check_options(max_frames: int, samples: int, graph_mode: str | None) -> None:
    if max_frames < 1:
        raise ValueError(f"max_frames={max_frames}; give the number of frames of a call, N F, at least 1.")
    if samples < 1 or math.isqrt(samples) ** 2 != samples:
        raise ValueError(f"samples={samples} is not a square number, and Warp averages a grid; give 1, 4 or 9.")
    if graph_mode is not None and graph_mode not in _GRAPH_MODES:
        raise ValueError(f"graph_mode={graph_mode!r} is unknown; give one of {', '.join(_GRAPH_MODES)}.")


def _fixed_camera(model: mujoco.MjModel, pose_updates: Sequence[PoseUpdates], view: View) -> int:
    """The camera of the model that is drawn, or that is replaced by the free camera."""
    camera = find_camera(model, view.camera)
    if camera >= 0 and pose_updates[model.cam_bodyid[camera]]:
        raise ValueError(
            f"camera {view.camera!r} is on a body that moves; only fixed cameras can be drawn with MJX-Warp here."
        )
    if not model.ncam:
        raise ValueError("the model has no camera, and MJX-Warp can draw no other; add one, or use build_scene.")
    refuse_moving_lights(model, pose_updates)
    return max(camera, 0)


def _with_camera_rays(model: mujoco.MjModel, camera_id: int, camera: Camera, size: int) -> mujoco.MjModel:
    """A copy of the model whose camera `camera_id` has the rays of `camera`, in the camera's own pixel order.

    The rays are given by a sensor at focal length 1, which, unlike a field of view, need not be centred on the axis.
    """
    copied = copy.copy(model)
    x, y = (float(start + step * (size - 1) / 2) for start, step in ((camera.x0, camera.dx), (camera.y0, camera.dy)))
    copied.cam_sensorsize[camera_id] = size * abs(float(camera.dx))
    copied.cam_intrinsic[camera_id] = [1.0, 1.0, x, -y]
    return copied


def _make_context(model: mujoco.MjModel, device: JaxDevice, **options: Any) -> RenderContext:
    from mujoco import mjx

    warp = importlib.import_module("warp")  # type checkers would take `import warp` for this file
    return mjx.create_render_context(
        model,
        devices=[warp.device_from_jax(device).alias],
        render_rgb=True,
        render_seg=False,
        render_skybox=bool((model.tex_type == mujoco.mjtTexture.mjTEXTURE_SKYBOX).any()),
        **options,
    )


def _put_on_device(
    model: mujoco.MjModel,
    placed: mujoco.MjData,
    camera_id: int,
    camera: Camera,
    graph_mode: str | None,
    device: JaxDevice,
) -> tuple[MjxModel, MjxData]:
    """MJX's model, and one world's data with the poses of geoms, camera and lights in `placed`."""
    from mujoco import mjx

    warp = importlib.import_module("warp")
    mode = None if graph_mode is None else warp.JaxCallableGraphMode[graph_mode.upper()]
    try:
        mjx_model = mjx.put_model(model, device=device, impl="warp", graph_mode=mode)
        data = mjx.make_data(model, device=device, impl="warp")
    except NotImplementedError as error:
        raise ValueError(f"MJX-Warp does not support this model ({error}); use build_scene.") from error
    poses = {
        "geom_xpos": placed.geom_xpos,
        "geom_xmat": placed.geom_xmat.reshape(-1, 3, 3),
        "cam_xpos": placed.cam_xpos.copy(),
        "cam_xmat": placed.cam_xmat.reshape(-1, 3, 3).copy(),
    }
    poses["cam_xpos"][camera_id], poses["cam_xmat"][camera_id] = camera.pos, camera.mat
    lights = {"light_xpos": placed.light_xpos, "light_xdir": placed.light_xdir}

    def on_device(arrays):
        return {name: jax.device_put(np.asarray(array, np.float32), device) for name, array in arrays.items()}

    return mjx_model, data.replace(**on_device(poses), _impl=data._impl.replace(**on_device(lights)))
