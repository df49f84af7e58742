"""The renderer's interface over MJX-Warp's ray tracer, on CUDA or, slowly, on Warp's CPU target.

Needs the optional `warp` extra; nothing of Warp is imported before `build_warp_scene`. `mujoco.mjx.render` runs inside
jitted programs, but keeps its trees of boxes outside JAX, in a context made for a fixed number of pictures. It draws
what never moves anew in every picture, has no transparency and no reflections, and rounds colours down.
"""

import copy
import dataclasses
import importlib.util
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from jax import Array
from jaxtyping import Float, UInt8, UInt32

from rcjax.pytree import PyTree
from rcjax.render.build import DRAWN_GROUPS
from rcjax.render.camera import Camera, View, find_camera, make_camera
from rcjax.render.motion import Moves, body_moves, placed_data, refuse_moving_lights
from rcjax.render.scene import require_poses
from rcjax.render.shade import geom_rgba
from rcjax.types import GeomPoses

_GRAPH_MODES = ("none", "jax", "warp", "warp_staged", "warp_staged_ex")


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True, eq=False)
class WarpStatic:
    """What a program is compiled for. It holds the context, so that its buffers live as long as the program."""

    context: Any  # mujoco.mjx's RenderContext
    n_pictures: int
    size: int  # pixels on a side
    pose_geoms: tuple[int, ...]
    flipped: tuple[bool, bool]  # whether rows and columns are drawn the other way round
    far: float  # metres
    has_depth: bool


class WarpScene(PyTree):
    """What `render_frames` draws with MJX-Warp. `data` is one world, its geoms, camera and lights in place."""

    static: WarpStatic
    model: Any  # mujoco.mjx.Model
    data: Any  # mujoco.mjx.Data

    @property
    def pose_geoms(self) -> tuple[int, ...]:
        """Ids of the geoms whose poses `render_frames` needs, in order."""
        return self.static.pose_geoms

    @property
    def size(self) -> int:
        """Pixels on a frame's side."""
        return self.static.size


def build_warp_scene(
    model: mujoco.MjModel,
    *,
    view: View,
    n_pictures: int,
    episode_fixed_bodies: Sequence[str] = (),
    data: mujoco.MjData | None = None,
    geom_groups: Sequence[int] = DRAWN_GROUPS,
    shadows: bool = False,
    samples: int = 1,
    depth: bool = False,
    graph_mode: str | None = None,
) -> WarpScene:
    """A scene that `render_frames` draws with MJX-Warp, always `n_pictures` at a time.

    Fewer (N F) are drawn too, at the cost of `n_pictures`.

    `view`, `data`, `geom_groups` and `episode_fixed_bodies` are `build_scene`'s, but poses of the latter are read from
    every frame. `samples` per pixel is a square number, as Warp averages a grid. `depth` is needed for `render_depth`.
    `graph_mode` says who records CUDA graphs (MJX's choice by default).

    One scene's calls share its context: map over micro-batches with `jax.lax.map`, which orders them, but neither
    `vmap` nor shard a call, nor put two that do not depend on each other in one program.

    ValueError where Warp or a device for it is missing, for a model that MJX-Warp does not take, for skins and flexes,
    and for cameras and lights that cannot be drawn.
    """
    device = _require_warp()
    _check_options(n_pictures, samples, graph_mode)
    if model.nskin or model.nflex:
        raise ValueError(f"the model has {model.nskin} skins and {model.nflex} flexes, which cannot be drawn.")
    placed = placed_data(model, data)
    moves = body_moves(model, episode_fixed_bodies)
    slot = _still_camera(model, moves, view)
    camera = make_camera(model, placed, view)
    model = _with_rays(model, slot, camera, view.size)
    context = _make_context(
        model,
        device,
        nworld=n_pictures,
        cam_res=(view.size, view.size),
        cam_active=[slot],
        render_depth=depth,
        use_shadows=shadows,
        samples_per_pixel=math.isqrt(samples),
        enabled_geom_groups=list(geom_groups),
    )
    mjx_model, mjx_data = _put(model, placed, slot, camera, graph_mode, device)
    drawn = [g for g in range(model.ngeom) if model.geom_group[g] in geom_groups and geom_rgba(model, g)[3] > 0]
    static = WarpStatic(
        context=context,
        n_pictures=n_pictures,
        size=view.size,
        pose_geoms=tuple(g for g in drawn if moves[model.geom_bodyid[g]]),
        flipped=(bool(camera.dy > 0), bool(camera.dx < 0)),
        far=float(camera.far),
        has_depth=depth,
    )
    return WarpScene(static=static, model=mjx_model, data=mjx_data)


def warp_frames(scene: WarpScene, poses: GeomPoses) -> UInt8[Array, "N F H W 3"]:
    """`render_frames` for a `WarpScene`. Raises ValueError if N F is above the scene's `n_pictures`."""
    packed, _ = _trace_rays(scene, poses)
    channels = (packed[..., None] >> jnp.array([16, 8, 0], jnp.uint32)) & 255
    return _as_viewed(scene, poses, channels.astype(jnp.uint8))


def warp_depth(scene: WarpScene, poses: GeomPoses) -> Float[Array, "N F H W"]:
    """`render_depth` for a `WarpScene` that was built with `depth=True`; else ValueError."""
    if not scene.static.has_depth:
        raise ValueError("this WarpScene draws no depth; build it with build_warp_scene(..., depth=True).")
    _, depth = _trace_rays(scene, poses)
    return _as_viewed(scene, poses, jnp.where(depth > 0, depth, scene.static.far))  # 0 where a ray meets nothing


def _trace_rays(scene: WarpScene, poses: GeomPoses) -> tuple[UInt32[Array, "J pixels"], Float[Array, "J depths"]]:
    """Packed colours and depths of all pictures, in the camera's own pixel order."""
    from mujoco import mjx

    require_poses(scene, poses)
    context = scene.static.context.pytree()
    data = mjx.refit_bvh(scene.model, _worlds(scene, poses), context)
    colour, depth, _ = mjx.render(scene.model, data, context)
    return colour, depth


def _worlds(scene: WarpScene, poses: GeomPoses) -> Any:
    """The data with a leading axis of pictures on all that the two calls read of it."""
    count, lead = scene.static.n_pictures, poses.pos.shape[:2]
    spare = count - math.prod(lead)
    if spare < 0:
        raise ValueError(
            f"poses of {lead[0]} episodes of {lead[1]} frames for a WarpScene of n_pictures={count}; "
            f"build it with n_pictures={math.prod(lead)}, or draw fewer at a time."
        )
    rows = np.asarray(scene.pose_geoms, np.int32)

    def repeat(x):
        return jnp.broadcast_to(x, (count, *x.shape))

    def place(x, given):
        given = given.reshape(-1, *given.shape[2:])
        filled = jnp.concatenate([given, jnp.broadcast_to(given[:1], (spare, *given.shape[1:]))])
        return repeat(x).at[:, rows].set(filled)

    one = scene.data
    public = {name: repeat(getattr(one, name)) for name in ("qpos", "cam_xpos", "cam_xmat")}
    inner = {name: repeat(getattr(one._impl, name)) for name in _INNER}
    return one.replace(
        **public,
        geom_xpos=place(one.geom_xpos, poses.pos),
        geom_xmat=place(one.geom_xmat, poses.mat),
        _impl=one._impl.replace(**inner),
    )


_INNER = ("light_xpos", "light_xdir", "flexvert_xpos", "_jax_token")
"""What `mujoco.mjx.render` reads of the data beside its public fields; the token puts it after `refit_bvh`."""


def _as_viewed(scene: WarpScene, poses: GeomPoses, pixels: Array) -> Array:
    """Pixels [J pixels ..] as pictures [N F H W ..], turned as the view says."""
    static = scene.static
    pictures = pixels[: math.prod(poses.pos.shape[:2])]
    pictures = pictures.reshape(*poses.pos.shape[:2], static.size, static.size, *pixels.shape[2:])
    return jnp.flip(pictures, [axis for axis, flipped in zip((2, 3), static.flipped, strict=True) if flipped])


def _require_warp() -> Any:
    """JAX's first device, on which Warp will draw; ValueError where it cannot."""
    missing = "MJX-Warp needs the package warp-lang: pip install 'rcjax[warp]'"
    if importlib.util.find_spec("warp") is None:  # asked first, as importing MJX without it prints complaints
        raise ValueError(missing)
    import mujoco.mjx.warp as mjx_warp

    if not mjx_warp.WARP_INSTALLED:
        raise ValueError(missing)
    device = jax.devices()[0]
    is_cuda = device.platform == "gpu" and "rocm" not in device.client.platform_version.lower()
    if not (is_cuda or device.platform == "cpu"):
        raise ValueError(
            f"MJX-Warp draws on CUDA GPUs and CPUs, not on {device}; use build_scene, which draws anywhere."
        )
    if is_cuda and not mjx_warp.warp.is_cuda_available():
        raise ValueError("JAX has a CUDA GPU but Warp finds none; update the driver, or run JAX on the CPU.")
    return device


def _check_options(n_pictures: int, samples: int, graph_mode: str | None) -> None:
    if n_pictures < 1:
        raise ValueError(f"n_pictures={n_pictures}; give the number of pictures of a call, N F, at least 1.")
    if samples < 1 or math.isqrt(samples) ** 2 != samples:
        raise ValueError(f"samples={samples} is not a square number, and Warp averages a grid; give 1, 4 or 9.")
    if graph_mode is not None and graph_mode not in _GRAPH_MODES:
        raise ValueError(f"graph_mode={graph_mode!r} is unknown; give one of {', '.join(_GRAPH_MODES)}.")


def _still_camera(model: mujoco.MjModel, moves: Sequence[Moves], view: View) -> int:
    """The camera of the model that is drawn, or whose place the free camera takes."""
    camera = find_camera(model, view.camera)
    if camera >= 0 and moves[model.cam_bodyid[camera]]:
        raise ValueError(
            f"camera {view.camera!r} is on a body that moves; MJX-Warp is given only cameras that stand still here."
        )
    if not model.ncam:
        raise ValueError("the model has no camera, and MJX-Warp draws only the model's; add one, or use build_scene.")
    refuse_moving_lights(model, moves)
    return max(camera, 0)


def _with_rays(model: mujoco.MjModel, slot: int, camera: Camera, size: int) -> mujoco.MjModel:
    """A copy of the model whose camera `slot` has the rays of `camera`, in the camera's own pixel order.

    They are given as a sensor at focal length 1, which, unlike a field of view, need not be centred on the axis.
    """
    changed = copy.copy(model)
    x, y = (float(start + step * (size - 1) / 2) for start, step in ((camera.x0, camera.dx), (camera.y0, camera.dy)))
    changed.cam_sensorsize[slot] = size * abs(float(camera.dx))
    changed.cam_intrinsic[slot] = [1.0, 1.0, x, -y]
    return changed


def _make_context(model: mujoco.MjModel, device: Any, **options: Any) -> Any:
    import warp
    from mujoco import mjx

    return mjx.create_render_context(
        model,
        devices=[warp.device_from_jax(device).alias],
        render_rgb=True,
        render_seg=False,
        render_skybox=bool((model.tex_type == mujoco.mjtTexture.mjTEXTURE_SKYBOX).any()),
        **options,
    )


def _put(
    model: mujoco.MjModel, placed: mujoco.MjData, slot: int, camera: Camera, graph_mode: str | None, device: Any
) -> tuple[Any, Any]:
    """MJX's model, and one world's data with the geoms, the camera and the lights of `placed`."""
    import warp
    from mujoco import mjx

    mode = None if graph_mode is None else warp.JaxCallableGraphMode[graph_mode.upper()]
    try:
        mjx_model = mjx.put_model(model, device=device, impl="warp", graph_mode=mode)
        data = mjx.make_data(model, device=device, impl="warp")
    except NotImplementedError as error:
        raise ValueError(f"MJX-Warp does not take this model ({error}); use build_scene.") from error
    poses = {
        "geom_xpos": placed.geom_xpos,
        "geom_xmat": placed.geom_xmat.reshape(-1, 3, 3),
        "cam_xpos": placed.cam_xpos.copy(),
        "cam_xmat": placed.cam_xmat.reshape(-1, 3, 3).copy(),
    }
    poses["cam_xpos"][slot], poses["cam_xmat"][slot] = camera.pos, camera.mat
    lights = {"light_xpos": placed.light_xpos, "light_xdir": placed.light_xdir}

    def on_device(arrays):
        return {name: jax.device_put(np.asarray(array, np.float32), device) for name, array in arrays.items()}

    return mjx_model, data.replace(**on_device(poses), _impl=data._impl.replace(**on_device(lights)))
