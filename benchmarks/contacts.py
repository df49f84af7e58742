"""How faithful the contacts of our hand are: the same random walks in the official scenes and in ours.

C MuJoCo steps both from the same initial states under the same actions, so differences come from the scenes. Two things
are reported: the distance between the two hands, and how deep the official collision shapes of the hand overlap those
of the scenery, in the official run and where our run brought the hand. There are three kinds of walks: steps that add
up and saturate, which press the hand into a corner of its box; smooth walks of a few centimetres; and straight lines
between random points around the objects, which run into everything that stands there.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import mujoco
import numpy as np
import tyro
from jaxtyping import Float

from benchmarks import report
from benchmarks.official import make_official, reset_to
from rcjax import envs
from rcjax.envs import c_physics
from rcjax.envs.metaworld.sawyer import ACTION_SCALE, HAND_DOWN, SawyerEnv
from rcjax.envs.warp_physics import contact_capacity

STEPS = 128
KINDS = ("saturating", "smooth", "straight")
RESULTS = Path(__file__).parent / "results" / "contacts.json"
STRAIGHT_STEPS = 24  # control steps between two random points
AROUND_LOW, AROUND_HIGH = np.array([-0.25, 0.5, 0.02]), np.array([0.25, 0.95, 0.35])  # metres
DEEP = 0.01  # metres; deeper overlap is counted


@dataclasses.dataclass(frozen=True)
class Options:
    """Walk in the official scenes and in ours."""

    tasks: tuple[str, ...] = ()
    """Names of the tasks. Without any, all fifty run."""
    walks: int = 18
    """Number of walks per task, of the three kinds in turn."""
    results: Path = RESULTS
    """The JSON file to which rows are added."""


@dataclasses.dataclass(frozen=True)
class Walks:
    """Metres between the hands, and of overlap with the scenery in the official run and in ours, at each control step.

    The overlap is negative or 0 where there is none.
    """

    hand_distance: Float[np.ndarray, "W T"]
    official_overlap: Float[np.ndarray, "W T"]
    our_overlap: Float[np.ndarray, "W T"]

    def summary(self) -> dict[str, float]:
        """Returns quantiles and maxima in millimetres, and the share of steps that overlap by more than `DEEP`."""
        return {
            "hand_95": 1000 * float(np.quantile(self.hand_distance, 0.95)),
            "hand_max": 1000 * float(self.hand_distance.max()),
            "official_overlap_max": 1000 * float(self.official_overlap.max()),
            "our_overlap_max": 1000 * float(self.our_overlap.max()),
            "our_deep_share": float((self.our_overlap > DEEP).mean()),
        } | {f"hand_95_{kind}": 1000 * float(np.quantile(self.hand_distance[i :: len(KINDS)], 0.95)) for i, kind in
             enumerate(KINDS[: len(self.hand_distance)])}  # fmt: skip


def walk_actions(walk: int) -> Float[np.ndarray, "T 4"]:
    """Returns the actions of a walk, in [-1, 1]; its kind is KINDS[walk % 3]."""
    draw = np.random.default_rng(1000 + walk)
    kind = KINDS[walk % len(KINDS)]
    if kind == "saturating":
        return np.clip(np.cumsum(draw.normal(size=(STEPS, 4)) / 2, axis=0), -1, 1)
    if kind == "smooth":
        return np.clip(_autoregressive(draw), -1, 1)
    return _straight_lines(draw)


def _autoregressive(draw: np.random.Generator) -> Float[np.ndarray, "T 4"]:
    """Returns normal variables of variance 1 with a correlation of 0.9 from one step to the next."""
    actions = [draw.normal(size=4)]
    for _ in range(STEPS):
        actions.append(0.9 * actions[-1] + np.sqrt(1 - 0.9**2) * draw.normal(size=4))
    return np.stack(actions[1:])


def _straight_lines(draw: np.random.Generator) -> Float[np.ndarray, "T 4"]:
    """Returns the actions that lead along straight lines between random points."""
    pos, actions = np.array([0.0, 0.6, 0.2]), np.zeros((STEPS, 4))
    goal, grip = pos, 0.0
    for t in range(STEPS):
        if t % STRAIGHT_STEPS == 0:
            goal, grip = draw.uniform(AROUND_LOW, AROUND_HIGH), draw.uniform(-1, 1)
        step = np.clip((goal - pos) / ACTION_SCALE, -1, 1)
        pos = pos + ACTION_SCALE * step
        actions[t] = [*step, grip]
    return actions


class OverlapMeter:
    """Measures how deep the official shapes of arm and hand are inside those of bodies that never move."""

    def __init__(self, model: mujoco.MjModel):
        self.model = model
        self.data = mujoco.MjData(model)
        hand = {b for b in range(model.nbody) if self._has_ancestor(b, ("hand", "right_l0"))}
        moving = {b for b in range(model.nbody) if self._moves(b)} - hand
        self.of_hand = np.isin(model.geom_bodyid, list(hand))
        self.of_scenery = ~np.isin(model.geom_bodyid, list(hand | moving))

    def _ancestors(self, body: int) -> list[int]:
        chain = []
        while body:
            chain.append(body)
            body = self.model.body_parentid[body]
        return chain

    def _has_ancestor(self, body: int, names: tuple[str, ...]) -> bool:
        return any(self.model.body(b).name in names for b in self._ancestors(body))

    def _moves(self, body: int) -> bool:
        return any(self.model.body_jntnum[b] for b in self._ancestors(body))

    def overlap(self, data: mujoco.MjData) -> float:
        """Returns the deepest overlap among the contacts in `data`, metres; 0 without contacts."""
        depths = [
            -contact.dist
            for contact in data.contact
            if (self.of_hand[contact.geom1] and self.of_scenery[contact.geom2])
            or (self.of_hand[contact.geom2] and self.of_scenery[contact.geom1])
        ]
        return max(depths, default=0.0)

    def overlap_at(self, qpos: np.ndarray, official: mujoco.MjData) -> float:
        """Returns the deepest overlap with joints at `qpos` and mocap bodies where `official` has them, metres."""
        self.data.qpos[:] = qpos
        self.data.mocap_pos[:], self.data.mocap_quat[:] = official.mocap_pos, official.mocap_quat
        mujoco.mj_kinematics(self.model, self.data)
        mujoco.mj_comPos(self.model, self.data)
        mujoco.mj_collision(self.model, self.data)
        return self.overlap(self.data)


def control(env: SawyerEnv, data: mujoco.MjData, action: np.ndarray) -> None:
    """Does what `SawyerEnv.control` does, on C MuJoCo's data."""
    mocap = env.mocap_id("mocap")
    target = data.mocap_pos[mocap] + ACTION_SCALE * action[:3]
    data.mocap_pos[mocap] = np.clip(target, env.mocap_low, env.mocap_high)
    data.mocap_quat[mocap], data.ctrl[:] = HAND_DOWN, [action[3], -action[3]]


def walk(env: SawyerEnv, walks: int) -> Walks:
    """Runs walks 0 ... walks - 1, each from the reset of that seed, in the official scene and in ours."""
    bank = jax.device_get(env.build_reset_bank(range(walks)))
    official = make_official(env.task, 0, goal_hidden=False)
    meter, ours = OverlapMeter(official.model), mujoco.MjData(env.mj_model)
    rows = np.zeros((3, walks, STEPS))
    for i in range(walks):
        reset_to(official, env.random_vector(i))
        c_physics.load_state(env.mj_model, ours, jax.tree.map(lambda leaf, i=i: leaf[i], bank.physics))
        for t, action in enumerate(walk_actions(i).astype(np.float32)):
            official.step(action)
            control(env, ours, action)
            c_physics.step(env.mj_model, ours, env.frame_skip)
            rows[0, i, t] = np.linalg.norm(official.data.body("hand").xpos - ours.body("hand").xpos)
            rows[1, i, t] = meter.overlap(official.data)
            rows[2, i, t] = meter.overlap_at(ours.qpos, official.data)
    return Walks(*rows)


def table(rows: dict[str, Any]) -> str:
    """Returns a Markdown table with a line per task."""
    head = (
        "| task | hand 95 % mm (saturating / smooth / straight) | overlap mm, official / ours | over 10 mm | contacts |"
        "\n| --- | --- | --- | --- | --- |"
    )
    lines = [
        f"| {task} | {row['hand_95']:.0f} ({_by_kind(row)}) | "
        f"{row['official_overlap_max']:.0f} / {row['our_overlap_max']:.0f} | {100 * row['our_deep_share']:.1f} % | "
        f"{row['contacts']} |"
        for task, row in sorted(rows.items())
    ]
    return "\n".join([head, *lines])


def _by_kind(row: dict[str, Any]) -> str:
    return " / ".join(f"{row['hand_95_' + kind]:.0f}" for kind in KINDS)


def main(options: Options) -> None:
    results: dict[str, Any] = json.loads(options.results.read_text()) if options.results.exists() else {"tasks": {}}
    results |= {"machine": report.machine(), "walks": options.walks}
    for task in [envs.canonical_name(task) for task in options.tasks] or envs.MT50:
        env = envs.TASKS[task]()
        row = walk(env, options.walks).summary() | {"contacts": contact_capacity(env.mj_model)[0]}
        results["tasks"][task] = row
        report.save(results, options.results)
        print(table({task: row}).splitlines()[-1], flush=True)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
