"""Makes rcjax's encoder checkpoint from s3d_howto100m.pth and s3d_dict.npy, without PyTorch.

`python -m weights_convert --help` says how; from Python, use `convert.convert` and `download.download`.
"""
