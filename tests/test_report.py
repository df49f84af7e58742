"""Texts for the user of a run."""

import dataclasses

import pytest

from rcjax.config import TaskSpec, demo
from rcjax.report import plot_title


@pytest.mark.parametrize(
    ("encoder", "named"),
    [
        ("small", "encoder small"),
        ("random", "encoder random"),
        (None, "encoder random"),  # as earlier versions wrote it
        ("/weights/s3d", "converted weights"),
    ],
)
def test_the_plot_names_the_encoder(encoder, named):
    config = dataclasses.replace(demo(), encoder=encoder, spec=TaskSpec(text="close it"), seed=3)
    assert plot_title(config) == f"drawer-close from “close it”, {named}, seed 3"
