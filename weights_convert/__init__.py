"""Converts s3d_howto100m.pth and s3d_dict.npy to an encoder checkpoint of rcjax, without PyTorch.

See `python -m weights_convert --help`; from Python, use `convert.convert` and `download.download`.
"""
