"""How often the loops run whose turns depend on data: what `benchmarks.work` has to be told of a stage."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.work import Turns
from rcjax.render import draw as drawing
from rcjax.render.layers import Layer
from rcjax.render.scene import Scene
from rcjax.types import GeomPoses


def physics_turns(env: Any) -> Turns:
    """Of MJX's solver, at its limit of iterations."""
    return {(0,): float(env.mj_model.opt.iterations)}


def rendering_turns(scene: Scene, micro_batches: GeomPoses) -> Turns:
    """Of the loops over chunks of tiles and over rounds, in the mean over micro-batches [m n F Gp].

    Raises ValueError for a scene with transparent surfaces, whose loops are others.
    """
    if not scene.transparent_layer.is_empty:
        raise ValueError("the scene has transparent surfaces; how often their loops run is not known.")
    drawn: list[tuple[Layer, Any]] = [
        (scene.episode_layer, lambda x: x[:, 0]),
        (scene.frame_layer, lambda x: x.reshape(-1, *x.shape[2:])),
    ]
    turns: Turns = {}
    for layer, pictures in drawn:
        if not layer.is_empty:
            chunks, rounds = _layer_turns(scene, layer, jax.tree.map(jax.vmap(pictures), micro_batches))
            number = len(turns) // 2
            turns |= {(number,): chunks, (number, 0): rounds / max(chunks, 1.0)}
    return turns


def iteration_turns(env: Any, scene: Scene, micro_batches: GeomPoses) -> Turns:
    """Of a whole iteration: physics, then rendering."""
    physics = physics_turns(env)
    return physics | {(1 + first, *rest): n for (first, *rest), n in rendering_turns(scene, micro_batches).items()}


def _layer_turns(scene: Scene, layer: Layer, micro_batches: GeomPoses) -> tuple[float, float]:
    """Chunks, and rounds in all of them, in the mean over micro-batches of pictures [m J Gp]."""

    def count(poses: GeomPoses) -> jax.Array:
        every = drawing.all_poses(scene, poses)
        setup = drawing.project(scene, layer, drawing.view_camera(scene, every), every)
        clusters = jnp.sort(jax.lax.population_count(setup.masks).sum(-1).reshape(-1))[::-1]
        fullest = clusters[:: scene.static.chunk]
        return jnp.stack([(fullest > 0).sum(), fullest.sum()])

    chunks, rounds = np.asarray(jax.jit(lambda m: jax.lax.map(count, m))(micro_batches), float).mean(axis=0)
    return float(chunks), float(rounds)
