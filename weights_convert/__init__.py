"""Converts the released weights of S3D and of CLIP to encoder checkpoints of rcjax, without PyTorch.

See `python -m weights_convert --help`; from Python, use `convert.convert`, `clip.convert_clip` and `download.download`.
"""
