"""The plot of learning curves."""

from rcjax.figures import learning_curve


def test_a_dollar_sign_in_the_title_does_not_start_a_formula(tmp_path):
    row = {"iteration": 1, "env_steps": 10, "seed": 0, "video_reward": 1.0, "true_return": 2.0, "success_rate": 0.5}
    learning_curve([row], tmp_path / "curve.png", r"from “pay $\frac$”")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
