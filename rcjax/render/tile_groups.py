"""Groups of 16 tiles of one image, which the kernel for TPUs draws (`rcjax.render.mosaic_kernel`).

Only tiles that some cluster touches are in a group. An image's last group is filled up with tiles whose mask is empty.
Pixels of a group are [8 rows, 128 columns], the rows of its 16 tiles of 8 x 8 pixels side by side.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Int, Shaped, UInt32

from rcjax.render.mosaic_kernel import GROUP, SIDE


class TileGroups(NamedTuple):
    """The groups of J images, in the images' order."""

    is_active: Bool[Array, "J tiles"]  # whether the tile is in a group
    tile: Int[Array, "J most 16"]  # the tiles of each image's groups, and after them the other tiles
    end: Int[Array, " J"]  # groups of the images up to and including each

    @property
    def n_groups(self) -> Int[Array, ""]:
        """The groups of all images."""
        return self.end[-1]


def group_tiles(is_active: Bool[Array, "J tiles"]) -> TileGroups:
    """Groups each image's active tiles, in ascending order."""
    n_images, n_tiles = is_active.shape
    active_first = jnp.argsort(~is_active, axis=1, stable=True).astype(jnp.int32)
    tile = jnp.pad(active_first, ((0, 0), (0, -n_tiles % GROUP))).reshape(n_images, -1, GROUP)
    return TileGroups(is_active, tile, jnp.cumsum(-(-is_active.sum(axis=1) // GROUP)).astype(jnp.int32))


def take_groups(
    groups: TileGroups, number: Int[Array, " G"], masks: UInt32[Array, "J tiles words"]
) -> tuple[Int[Array, " G"], Int[Array, "G 16"], UInt32[Array, "G 16 words"]]:
    """Returns the image, the tiles and the tiles' masks of some groups; masks are empty beyond the last group."""
    is_before = groups.end <= number[:, None]
    first = jnp.where(is_before, groups.end, 0).max(axis=1)  # of the image's groups
    image = jnp.minimum(is_before.sum(axis=1, dtype=jnp.int32), groups.end.shape[0] - 1)
    tile = groups.tile[image, jnp.minimum(number - first, groups.tile.shape[1] - 1)]
    place = (number - first)[:, None] * GROUP + jnp.arange(GROUP)
    is_drawn = place < groups.is_active.sum(axis=1)[image][:, None]
    return image, tile, jnp.where(is_drawn[..., None], masks[image[:, None], tile], 0)


def group_slots(groups: TileGroups) -> Int[Array, "J tiles"]:
    """Returns, for each active tile, its number among the tiles of all groups; 0 for others."""
    first = jnp.concatenate([jnp.zeros(1, jnp.int32), groups.end[:-1]]) * GROUP
    rank = jnp.cumsum(groups.is_active, axis=1, dtype=jnp.int32) - 1
    return jnp.where(groups.is_active, first[:, None] + rank, 0)


def side_by_side(tiles: Shaped[Array, "G 16 64"]) -> Shaped[Array, "G 8 128"]:
    """Puts the pixels of a group's tiles side by side."""
    return tiles.reshape(-1, GROUP, SIDE, SIDE).transpose(0, 2, 1, 3).reshape(-1, SIDE, GROUP * SIDE)


def apart(rows: Shaped[Array, "C 128 ..."]) -> Shaped[Array, "tiles 64 ..."]:
    """Undoes `side_by_side`, given the rows of all groups along one axis."""
    n_groups, rest = rows.shape[0] // SIDE, rows.shape[2:]
    tiles = rows.reshape(n_groups, SIDE, GROUP, SIDE, *rest).swapaxes(1, 2)
    return tiles.reshape(n_groups * GROUP, SIDE * SIDE, *rest)
