"""How near two pictures are: noise, structure, edges. Pictures are uint8 RGB, and the measures are symmetric."""

import numpy as np
from jaxtyping import Bool, Float, UInt8
from scipy.ndimage import distance_transform_edt
from skimage.feature import canny  # pyright: ignore[reportMissingImports]
from skimage.metrics import structural_similarity  # pyright: ignore[reportMissingImports]

Picture = UInt8[np.ndarray, "H W 3"]

_LUMA = np.array([0.299, 0.587, 0.114])  # Rec. 601
_EDGE_SIGMA = 1.0  # pixels
_LARGEST_PSNR = 99.0  # dB; of equal pictures, whose own is infinite


def luma(picture: Picture) -> Float[np.ndarray, "H W"]:
    """Brightness as it is encoded, 0 to 255."""
    return picture @ _LUMA


def psnr(a: Picture, b: Picture) -> float:
    """Peak signal to noise ratio in dB over all channels, at most 99."""
    error = np.mean((a.astype(float) - b) ** 2)
    return _LARGEST_PSNR if error == 0 else min(_LARGEST_PSNR, float(10 * np.log10(255**2 / error)))


def ssim(a: Picture, b: Picture) -> float:
    """Structural similarity of luma, as Wang et al. (2004) define it: an 11x11 Gaussian window of 1.5 pixels."""
    similarity = structural_similarity(
        luma(a), luma(b), data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    return float(np.asarray(similarity))


def edges(picture: Picture) -> Bool[np.ndarray, "H W"]:
    """Canny's edges of luma, at scikit-image's thresholds (0.1 and 0.2 of full scale)."""
    return canny(luma(picture) / 255, sigma=_EDGE_SIGMA)


def edge_distances(a: Picture, b: Picture) -> Float[np.ndarray, " E"]:
    """Pixels from each edge pixel of either picture to the nearest of the other.

    An edge that only one picture has counts with its distance to whatever edge is nearest, the picture's diagonal
    where the other has none. Empty when neither has edges.
    """
    in_a, in_b = edges(a), edges(b)
    return np.concatenate([_distance_to(in_b)[in_a], _distance_to(in_a)[in_b]])


def _distance_to(edge: Bool[np.ndarray, "H W"]) -> Float[np.ndarray, "H W"]:
    if not edge.any():
        return np.full(edge.shape, np.hypot(*edge.shape))
    return np.asarray(distance_transform_edt(~edge))


def cosine(a: Float[np.ndarray, " D"], b: Float[np.ndarray, " D"]) -> float:
    """Cosine of the angle between two embeddings."""
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
