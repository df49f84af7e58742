"""Quaternions with the sign that SciPy picks, as in official observations."""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float


@jax.jit
def xyzw_from_matrix(matrix: Float[Array, "3 3"]) -> Float[Array, " 4"]:
    """Returns the quaternion x y z w of a rotation matrix, as `scipy.spatial.transform.Rotation` does.

    The component that comes out positive belongs to the largest of the matrix's diagonal (x, y, z) and its trace (w).

    Source: F. L. Markley, "Unit quaternion from rotation matrix", J. Guidance, Control, and Dynamics 31(2), 2008.
    """
    m = matrix
    trace = m[0, 0] + m[1, 1] + m[2, 2]
    candidates = []
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        q = jnp.zeros(4).at[i].set(1.0 - trace + 2.0 * m[i, i])
        q = q.at[j].set(m[j, i] + m[i, j]).at[k].set(m[k, i] + m[i, k]).at[3].set(m[k, j] - m[j, k])
        candidates.append(q)
    candidates.append(jnp.stack([m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1], 1.0 + trace]))
    largest = jnp.argmax(jnp.stack([m[0, 0], m[1, 1], m[2, 2], trace]))
    q = jnp.stack(candidates)[largest]
    return q / jnp.linalg.norm(q)
