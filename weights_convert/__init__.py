"""Makes rcjax's encoder checkpoint from s3d_howto100m.pth and s3d_dict.npy, without PyTorch.

`python -m weights_convert --help` says how; `convert` and `download` are the same from Python.
"""

from weights_convert.convert import convert
from weights_convert.download import download

__all__ = ["convert", "download"]
