"""faucet-close: turn the tap's handle to the left.

Source: metaworld 3.0.0, `sawyer_faucet_close_v3.py`.
"""

from rcjax.envs.metaworld.scenes.faucet import FaucetScene, faucet_scene


class FaucetClose(FaucetScene):
    """The goal is the end of the handle when it points along -x."""

    task = "faucet-close"
    scene = faucet_scene("goal_close")
    side = -1.0
    handle_site = "handleStartClose"
    random_low = (-0.1, 0.8, 0.0)
    random_high = (0.1, 0.85, 0.0)
    prompt = "robot closing faucet"
