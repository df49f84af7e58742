"""The parts of the kitchen that tasks are about: which positions they are, and where these have to be.

Source: gymnasium-robotics 1.4.2, `franka_kitchen/kitchen_env.py`; tests compare with it.
"""

import dataclasses

import numpy as np

DONE_DISTANCE = 0.3  # an element is done while the distance over all its numbers is smaller

INIT_QPOS = np.array(
    [
        0.148388023, -1.76848573, 1.84390296, -2.47685760, 0.260252026, 0.712533105, 1.59515394,  # arm
        0.0479267505, 0.0371350919,  # fingers
        -2.66279850e-04, -5.18043486e-05, 3.12877220e-05, -4.51199853e-05,  # knobs and burners, in turn
        -3.90842156e-06, -4.22629655e-05, 6.28065475e-05, 4.04984708e-05,
        4.62730939e-04, -2.26906415e-04,  # light switch and light
        -4.65501369e-04, -6.44129196e-03, -1.77048263e-03, 1.08009684e-03,  # slide, left and right hinge, microwave
        -0.269397440, 0.350383255, 1.61944683, 1.00618764, 4.06395120e-03, -6.62095997e-03, -2.68278933e-04,  # kettle
    ]
)  # fmt: skip
"""Positions (qpos) at every reset, in metres and radians; velocities are 0. The kettle's quaternion is the official
one, whose length is not 1."""

N_ROBOT = 9  # joints of the arm and the fingers, which are the first positions and velocities


@dataclasses.dataclass(frozen=True)
class Element:
    """A part of the kitchen: the numbers of its positions in qpos, and their goal."""

    indices: tuple[int, ...]
    goal: tuple[float, ...]


ELEMENTS = {
    "bottom burner": Element((11, 12), (-0.88, -0.01)),
    "top burner": Element((15, 16), (-0.92, -0.01)),
    "light switch": Element((17, 18), (-0.69, -0.05)),
    "slide cabinet": Element((19,), (0.37,)),
    "hinge cabinet": Element((20, 21), (0.0, 1.45)),
    "microwave": Element((22,), (-0.75,)),
    "kettle": Element((23, 24, 25, 26, 27, 28, 29), (-0.23, 0.75, 1.62, 0.99, 0.0, 0.0, -0.06)),
}

RELEASE_ELEMENTS = ("microwave", "hinge cabinet", "slide cabinet")
"""What RoboCLIP's release always trains on, whatever task it is told"""
