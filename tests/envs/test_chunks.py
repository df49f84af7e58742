"""Large batches in chunks. Oracle: the same function under a plain `vmap`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rcjax.envs.chunks import in_chunks


def product(model, state):
    """`model` is not batched. The size of the batch that is traced is not visible from inside."""
    return {"y": model["a"] @ state["x"], "n": state["n"] + 1}


def arguments(n):
    rng = np.random.default_rng(0)
    state = {"x": jnp.asarray(rng.normal(size=(n, 3)), jnp.float32), "n": jnp.arange(n)}
    return {"a": jnp.asarray(rng.normal(size=(2, 3)), jnp.float32)}, state


@pytest.mark.parametrize("n", [1, 3, 4, 5, 8, 11])
def test_chunks_give_the_same_numbers(n):
    model, state = arguments(n)
    got = jax.jit(jax.vmap(in_chunks(product, 4), in_axes=(None, 0)))(model, state)
    expected = jax.vmap(product, in_axes=(None, 0))(model, state)
    np.testing.assert_allclose(got["y"], expected["y"], rtol=1e-6)  # float32
    np.testing.assert_array_equal(got["n"], expected["n"])


def test_without_vmap_it_is_the_function():
    model, state = arguments(1)
    first = jax.tree.map(lambda x: x[0], state)
    np.testing.assert_array_equal(in_chunks(product)(model, first)["y"], product(model, first)["y"])


@pytest.mark.parametrize(("n", "largest"), [(64, 64), (65, 64), (640, 64)])
def test_no_factorisation_is_larger_than_a_chunk(n, largest):
    """Oracle: the shapes of the Cholesky decompositions in the traced program."""
    factorise = jax.vmap(in_chunks(jnp.linalg.cholesky))
    text = str(jax.make_jaxpr(factorise)(jnp.broadcast_to(jnp.eye(5), (n, 5, 5))))
    sizes = {int(line.split("f32[")[1].split(",")[0]) for line in text.splitlines() if "= cholesky" in line}
    assert max(sizes) == largest


def test_gradients_pass_through():
    model, state = arguments(6)

    def total(function, x):
        return jnp.sum(jax.vmap(function, in_axes=(None, 0))(model, state | {"x": x})["y"] ** 2)

    got = jax.grad(lambda x: total(in_chunks(product, 4), x))(state["x"])
    np.testing.assert_allclose(got, jax.grad(lambda x: total(product, x))(state["x"]), rtol=1e-5)
