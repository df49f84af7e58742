"""Where a model's bodies are, and how often that changes. Host."""

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


def placed_data(model: mujoco.MjModel, data: mujoco.MjData | None = None) -> mujoco.MjData:
    """A copy of `data` (by default the initial state) whose geoms, cameras and lights are in place."""
    placed = mujoco.MjData(model)
    if data is not None:
        placed.qpos[:] = data.qpos
        placed.mocap_pos[:], placed.mocap_quat[:] = data.mocap_pos, data.mocap_quat
    mujoco.mj_kinematics(model, placed)
    mujoco.mj_comPos(model, placed)
    mujoco.mj_camlight(model, placed)
    return placed


def refuse_moving_lights(model: mujoco.MjModel, moves: Sequence[Moves]) -> None:
    """ValueError for a light on a body that moves."""
    for i in range(model.nlight):
        body = int(model.light_bodyid[i])
        if model.light_active[i] and moves[body] != Moves.NEVER:
            raise ValueError(
                f"light {model.light(i).name or i!r} is on body {model.body(body).name!r}, which moves; "
                "only lights that stand still can be drawn."
            )
