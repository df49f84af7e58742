"""OpenCLIP's tokenizer, the oracle of token ids."""

import importlib.util

import pytest


def import_tokenizer():
    """Returns the module `open_clip.tokenizer`, without the package around it, which needs torchvision.

    Skips the test if OpenCLIP or what its tokenizer imports is not installed.
    """
    for name in ("torch", "ftfy", "regex"):
        pytest.importorskip(name)
    package = importlib.util.find_spec("open_clip")
    if package is None or not package.submodule_search_locations:
        pytest.skip("open_clip_torch is not installed")
    path = f"{package.submodule_search_locations[0]}/tokenizer.py"
    spec = importlib.util.spec_from_file_location("open_clip_tokenizer", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
