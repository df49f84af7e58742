"""Nested parameters as flat tables by path, to compare and to describe them."""

import functools
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from rcjax.encoders.network import Params
from rcjax.messages import ArraySpecs, enumerate_names


def leaves_by_path(params: Params) -> dict[str, Any]:
    """Returns the arrays by their path, such as video/conv1/kernel."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def param_shapes(tower: nn.Module, example: jax.Array) -> Params:
    """Returns the shapes and dtypes of a tower's parameters, without computing them. `example` is an input of it."""
    return _param_shapes(tower, jax.ShapeDtypeStruct(example.shape, example.dtype))


@functools.lru_cache(maxsize=64)
def _param_shapes(tower: nn.Module, example: jax.ShapeDtypeStruct) -> Params:
    """Tracing a tower takes most of the time in which a small encoder is loaded."""
    return jax.eval_shape(lambda x: tower.init(jax.random.key(0), x), example)["params"]


def array_specs(params: Params) -> ArraySpecs:
    """Returns shape and dtype of every array by its path."""
    return {
        name: (tuple(np.shape(a)), str(getattr(a, "dtype", type(a).__name__)))
        for name, a in leaves_by_path(params).items()
    }


def describe_nonfinite(params: Params) -> str:
    """Names the parameters that hold a NaN or an infinity; returns "" if none does."""
    names = [name for name, a in leaves_by_path(params).items() if not np.isfinite(np.asarray(a)).all()]
    return f"not finite everywhere: {enumerate_names(names)}" if names else ""
