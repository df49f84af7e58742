"""What the tests of this folder expect of all formats alike."""

import numpy as np
import pytest


def assert_same_arrays(got, expected):
    assert got.keys() == expected.keys()
    for name, array in expected.items():
        assert got[name].dtype == array.dtype and got[name].shape == array.shape
        np.testing.assert_array_equal(got[name], array)


def assert_refused(read, data, message, file):
    """Reading `data` as the file of this name, of CLIP's weights, is refused with a short line that matches."""
    with pytest.raises(ValueError, match=message) as error:
        read(data)
    line = str(error.value)
    assert f"{file} cannot be read as CLIP's weights: " in line and line.isprintable() and len(line) < 700


def save_half(path, encoder):
    """Replaces `save_encoder`: it fails as on a full disk, with a part already written."""
    path.mkdir()
    (path / "half").write_text("")
    raise OSError("no space left on device")
