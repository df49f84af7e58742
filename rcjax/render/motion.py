"""The poses of a model's bodies, and how often they change. Runs on the host."""

import enum
from collections.abc import Sequence

import mujoco


class PoseUpdates(enum.IntEnum):
    """How often a body's pose changes."""

    NEVER = 0
    PER_EPISODE = 1
    PER_FRAME = 2


def body_pose_updates(model: mujoco.MjModel, episode_fixed_bodies: Sequence[str] = ()) -> list[PoseUpdates]:
    """Returns how often the pose of each body changes.

    A body's pose changes per frame if it has a joint or a mocap pose, per episode if it is named in
    `episode_fixed_bodies`, and at least as often as its parent's.

    Raises:
        ValueError: A name in `episode_fixed_bodies` is unknown, or of a body with a joint.
    """
    names = [model.body(b).name for b in range(model.nbody)]
    unknown = sorted(set(episode_fixed_bodies) - set(names))
    if unknown:
        known = ", ".join(filter(None, names))
        raise ValueError(f"episode_fixed_bodies {unknown} are not in the model; it has {known}.")
    pose_updates = [PoseUpdates.NEVER]
    for body in range(1, model.nbody):
        parent = pose_updates[model.body_parentid[body]]
        if model.body_jntnum[body]:
            if names[body] in episode_fixed_bodies:
                raise ValueError(
                    f"body {names[body]!r} has a joint of its own, so its pose is not fixed during an episode; "
                    "name its parent body instead."
                )
            own = PoseUpdates.PER_FRAME
        elif names[body] in episode_fixed_bodies:
            own = PoseUpdates.PER_EPISODE
        else:
            own = PoseUpdates.PER_FRAME if model.body_mocapid[body] >= 0 else PoseUpdates.NEVER
        pose_updates.append(max(parent, own))
    return pose_updates


def placed_data(model: mujoco.MjModel, data: mujoco.MjData | None = None) -> mujoco.MjData:
    """Returns new data at the state of `data` (by default the initial state), with its kinematics computed.

    The poses of geoms, cameras and lights are up to date in it.
    """
    placed = mujoco.MjData(model)
    if data is not None:
        placed.qpos[:] = data.qpos
        placed.mocap_pos[:], placed.mocap_quat[:] = data.mocap_pos, data.mocap_quat
    mujoco.mj_kinematics(model, placed)
    mujoco.mj_comPos(model, placed)
    mujoco.mj_camlight(model, placed)
    return placed


def refuse_moving_lights(model: mujoco.MjModel, pose_updates: Sequence[PoseUpdates]) -> None:
    """Raises ValueError if an active light is on a body that moves."""
    for i in range(model.nlight):
        body = int(model.light_bodyid[i])
        if model.light_active[i] and pose_updates[body] != PoseUpdates.NEVER:
            raise ValueError(
                f"light {model.light(i).name or i!r} is on body {model.body(body).name!r}, which moves; "
                "only lights with a fixed pose can be drawn."
            )
