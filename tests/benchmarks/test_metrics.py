"""Picture metrics against hand values and slow definitions."""

import numpy as np
import pytest

pytest.importorskip("skimage")

from benchmarks import metrics


def noise(seed, size=24):
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), np.uint8)


def step_at(column, low=20, high=220, size=40):
    picture = np.full((size, size, 3), low, np.uint8)
    picture[:, column] = (low + high) // 2  # so that the steepest place is one column
    picture[:, column + 1 :] = high
    return picture


def slow_ssim(a, b):
    """Equations 13 and 14-16 of Wang et al. (2004) at every place where the whole 11x11 window fits."""
    axis = np.arange(-5, 6)
    weight = np.exp(-(axis[:, None] ** 2 + axis**2) / (2 * 1.5**2))
    weight /= weight.sum()
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    values = []
    for row in range(a.shape[0] - 10):
        for column in range(a.shape[1] - 10):
            x, y = (image[row : row + 11, column : column + 11] for image in (a, b))
            mx, my = (weight * x).sum(), (weight * y).sum()
            vx, vy = (weight * (x - mx) ** 2).sum(), (weight * (y - my) ** 2).sum()
            vxy = (weight * (x - mx) * (y - my)).sum()
            values.append((2 * mx * my + c1) * (2 * vxy + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2)))
    return np.mean(values)


def test_psnr_of_a_constant_offset():
    a = np.full((4, 5, 3), 100, np.uint8)
    # 20 log10(255 / 20), whichever picture is the brighter: 8-bit numbers must not wrap
    assert metrics.psnr(a, a + 20) == metrics.psnr(a + 20, a) == pytest.approx(22.1102, abs=1e-4)


def test_psnr_of_equal_pictures_is_finite():
    assert metrics.psnr(noise(0), noise(0)) == 99.0


def test_ssim_is_its_definition():
    a, b = noise(0), noise(1)
    b = (0.7 * a + 0.3 * b).astype(np.uint8)
    expected = slow_ssim(metrics.luma(a), metrics.luma(b))
    # float64 on both sides, but variances there are differences of moments: 1e-16 measured
    assert metrics.ssim(a, b) == pytest.approx(expected, abs=1e-9)
    assert 0.5 < expected < 0.99


def test_luma_weighs_green_most():
    np.testing.assert_allclose(metrics.luma(np.eye(3, dtype=np.uint8)[None] * 100), [[29.9, 58.7, 11.4]])


@pytest.mark.parametrize("shift", [0, 1, 4])
def test_edge_distance_is_the_shift_of_an_edge(shift):
    distances = metrics.edge_distances(step_at(15), step_at(15 + shift))
    assert len(distances) > 60  # an edge of 40 pixels in both, less the border
    np.testing.assert_array_equal(distances, shift)


def test_edge_distance_counts_an_edge_that_is_missing():
    flat = np.full((30, 40, 3), 20, np.uint8)
    edged = step_at(15)[:30]
    distances = metrics.edge_distances(edged, flat)
    assert len(distances) and (distances == 50.0).all()  # the diagonal of 30 x 40
    assert len(metrics.edge_distances(flat, flat)) == 0


def test_cosine_ignores_length():
    a, b = np.array([1.0, 0.0, 0.0]), np.array([3.0, 4.0, 0.0])
    assert metrics.cosine(a, b) == pytest.approx(0.6)
    assert metrics.cosine(a, -7 * a) == pytest.approx(-1.0)
