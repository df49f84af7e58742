"""Tells from the first bytes of weights and vocabulary which model they belong to."""

from pathlib import Path
from typing import Literal

from weights_convert.safetensors_file import is_safetensors
from weights_convert.torch_file import is_torchscript

Model = Literal["S3D", "CLIP"]
NPY_START = b"\x93NUMPY"
GZIP_START = b"\x1f\x8b"
VOCABULARIES = {"S3D": "s3d_dict.npy", "CLIP": "bpe_simple_vocab_16e6.txt.gz"}


def recognise_model(weights: Path, vocabulary: Path) -> Model:
    """Returns the model of two files, S3D if neither tells.

    Files of torch.save may belong to both models, so that their vocabulary decides; a TorchScript archive and a
    safetensors file are CLIP's. Raises ValueError if one file is of S3D and the other one of CLIP, and if CLIP's are
    in the wrong order.
    """
    by_weights, by_vocabulary = _model_of_weights(weights), _model_of_vocabulary(vocabulary)
    if _model_of_vocabulary(weights) == "CLIP":
        raise ValueError(f"{weights} has the format of CLIP's vocabulary; give the weights first, then the vocabulary.")
    if by_weights == "CLIP" and by_vocabulary == "S3D":
        raise ValueError(
            f"{weights} has the format of CLIP's weights, but {vocabulary} that of S3D's vocabulary; give "
            f"{VOCABULARIES['CLIP']} with it, or s3d_howto100m.pth with {VOCABULARIES['S3D']}."
        )
    return by_vocabulary or by_weights or "S3D"


def _model_of_weights(path: Path) -> Model | None:
    return "CLIP" if path.is_file() and (is_safetensors(path) or is_torchscript(path)) else None


def _model_of_vocabulary(path: Path) -> Model | None:
    if not path.is_file():
        return None
    with path.open("rb") as file:
        start = file.read(len(NPY_START))
    if start == NPY_START:
        return "S3D"
    return "CLIP" if start.startswith(GZIP_START) else None
