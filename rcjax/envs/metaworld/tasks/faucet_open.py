"""faucet-open: turn the tap's handle to the right.

Source: metaworld 3.0.0, `sawyer_faucet_open_v3.py`.
"""

from rcjax.envs.metaworld.scenes.faucet import FaucetScene, faucet_scene


class FaucetOpen(FaucetScene):
    """The goal is the end of the handle when it points along +x."""

    task = "faucet-open"
    scene = faucet_scene("goal_open")
    side = 1.0
    handle_site = "handleStartOpen"
    reward_offset = (-0.04, 0.0, 0.03)
    random_low = (-0.05, 0.8, 0.0)
    random_high = (0.05, 0.85, 0.0)
    prompt = "robot opening faucet"
