"""Trip counts of loops that depend on data, which `benchmarks.work` has to be given for a stage."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.work import TripCounts
from rcjax.envs.mjx_env import MjxEnv
from rcjax.render import draw as drawing
from rcjax.render import tile_groups
from rcjax.render.layers import Layer
from rcjax.render.mosaic_kernel import GROUP
from rcjax.render.scene import Scene
from rcjax.types import GeomPoses


def physics_trip_counts(env: MjxEnv) -> TripCounts:
    """Returns the trip count of MJX's solver, which is its limit of iterations."""
    return {(0,): float(env.mj_model.opt.iterations)}


def rendering_trip_counts(scene: Scene, micro_batches: GeomPoses) -> TripCounts:
    """Returns the trip counts of the loops over chunks of tiles and over rounds, averaged over micro-batches [m n F G].

    Raises ValueError for a scene with transparent surfaces, which has other loops.
    """
    if not scene.transparent_layer.is_empty:
        raise ValueError("the scene has transparent surfaces; the trip counts of their loops are not known.")
    drawn: list[tuple[Layer, Any]] = [
        (scene.episode_layer, lambda x: x[:, 0]),
        (scene.frame_layer, lambda x: x.reshape(-1, *x.shape[2:])),
    ]
    trip_counts: TripCounts = {}
    for layer, pictures in drawn:
        if not layer.is_empty:
            chunks, rounds = _layer_trip_counts(scene, layer, jax.tree.map(jax.vmap(pictures), micro_batches))
            number = sum(len(path) == 1 for path in trip_counts)
            trip_counts |= {(number,): chunks}
            if scene.static.tile_loop == "xla":
                trip_counts |= {(number, 0): rounds / max(chunks, 1.0)}
    return trip_counts


def iteration_trip_counts(env: MjxEnv, scene: Scene, micro_batches: GeomPoses) -> TripCounts:
    """Returns the trip counts of a whole iteration, which has physics first and then rendering."""
    rendering = rendering_trip_counts(scene, micro_batches)
    return physics_trip_counts(env) | {(1 + first, *rest): n for (first, *rest), n in rendering.items()}


def _layer_trip_counts(scene: Scene, layer: Layer, micro_batches: GeomPoses) -> tuple[float, float]:
    """Returns the chunks, and the rounds in all of them, averaged over micro-batches of pictures [m J Gp].

    Kernels take no rounds. A chunk of the one for TPUs has as many tiles, in groups of one picture.
    """
    by_group = scene.static.tile_loop.startswith("mosaic")

    def count(poses: GeomPoses) -> jax.Array:
        all_poses = drawing.join_fixed_poses(scene, poses)
        setup = drawing.set_up_layer(scene, layer, drawing.view_camera(scene, all_poses), all_poses)
        if by_group:
            groups = tile_groups.group_tiles((setup.masks != 0).any(axis=-1)).n_groups
            return jnp.stack([-(-groups // max(1, scene.static.chunk // GROUP)), 0])
        clusters = jnp.sort(jax.lax.population_count(setup.masks).sum(-1).reshape(-1))[::-1]
        fullest = clusters[:: scene.static.chunk]
        return jnp.stack([(fullest > 0).sum(), fullest.sum()])

    chunks, rounds = np.asarray(jax.jit(lambda m: jax.lax.map(count, m))(micro_batches), float).mean(axis=0)
    return float(chunks), float(rounds)
