"""How often the pose of each of a model's bodies changes."""

import enum
from collections.abc import Sequence

import mujoco


class Moves(enum.IntEnum):
    NEVER = 0
    PER_EPISODE = 1
    PER_FRAME = 2


def body_moves(model: mujoco.MjModel, episode_fixed_bodies: Sequence[str] = ()) -> list[Moves]:
    """For each body how often its pose changes: never, per episode, or per frame."""
    names = [model.body(b).name for b in range(model.nbody)]
    unknown = sorted(set(episode_fixed_bodies) - set(names))
    if unknown:
        known = ", ".join(filter(None, names))
        raise ValueError(f"episode_fixed_bodies {unknown} are not in the model; it has {known}.")
    moves = [Moves.NEVER]
    for body in range(1, model.nbody):
        parent = moves[model.body_parentid[body]]
        if model.body_jntnum[body]:
            if names[body] in episode_fixed_bodies:
                raise ValueError(
                    f"body {names[body]!r} has a joint of its own, so it is not fixed in an episode; "
                    "name the body that carries it."
                )
            own = Moves.PER_FRAME
        elif names[body] in episode_fixed_bodies:
            own = Moves.PER_EPISODE
        else:
            own = Moves.PER_FRAME if model.body_mocapid[body] >= 0 else Moves.NEVER
        moves.append(max(parent, own))
    return moves
