"""Measures of the difference between two images: PSNR, SSIM and edges. Images are uint8 RGB; measures are symmetric."""

import numpy as np
from jaxtyping import Bool, Float, UInt8
from scipy.ndimage import distance_transform_edt
from skimage.feature import canny  # pyright: ignore[reportMissingImports]
from skimage.metrics import structural_similarity  # pyright: ignore[reportMissingImports]

Image = UInt8[np.ndarray, "H W 3"]

_LUMA = np.array([0.299, 0.587, 0.114])  # Rec. 601
_EDGE_SIGMA = 1.0  # pixels
_LARGEST_PSNR = 99.0  # dB; given to equal images instead of infinity


def luma(image: Image) -> Float[np.ndarray, "H W"]:
    """Returns the luma (Rec. 601) of the encoded values, from 0 to 255."""
    return image @ _LUMA


def psnr(a: Image, b: Image) -> float:
    """Returns the peak signal-to-noise ratio in dB over all channels, at most 99."""
    error = np.mean((a.astype(float) - b) ** 2)
    return _LARGEST_PSNR if error == 0 else min(_LARGEST_PSNR, float(10 * np.log10(255**2 / error)))


def ssim(a: Image, b: Image) -> float:
    """Returns the SSIM of luma as defined by Wang et al. (2004), with an 11x11 Gaussian window of 1.5 pixels."""
    similarity = structural_similarity(
        luma(a), luma(b), data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    return float(np.asarray(similarity))


def edges(image: Image) -> Bool[np.ndarray, "H W"]:
    """Returns Canny's edges of luma, with scikit-image's thresholds (0.1 and 0.2 of full scale)."""
    return canny(luma(image) / 255, sigma=_EDGE_SIGMA)


def edge_distances(a: Image, b: Image) -> Float[np.ndarray, " E"]:
    """Returns the distance in pixels from each edge pixel of either image to the nearest edge pixel of the other.

    An edge that only one image has counts with its distance to the nearest edge of any kind, or with the image's
    diagonal if the other image has no edges. The result is empty if neither has edges.
    """
    in_a, in_b = edges(a), edges(b)
    return np.concatenate([_distance_to(in_b)[in_a], _distance_to(in_a)[in_b]])


def _distance_to(edge: Bool[np.ndarray, "H W"]) -> Float[np.ndarray, "H W"]:
    """The distance of every pixel from the nearest edge pixel."""
    if not edge.any():
        return np.full(edge.shape, np.hypot(*edge.shape))
    return np.asarray(distance_transform_edt(~edge))


def cosine(a: Float[np.ndarray, " D"], b: Float[np.ndarray, " D"]) -> float:
    """Returns the cosine of the angle between two embeddings."""
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
