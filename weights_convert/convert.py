"""From the two public files to an encoder checkpoint."""

import hashlib
import os
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np

from rcjax.s3d import VOCABULARY_SIZE, Encoder, params_from_torch, save_encoder, torch_state_spec
from weights_convert.torch_file import read_torch_file


def convert(weights: Path, words: Path, out: Path) -> Encoder:
    """Writes the encoder checkpoint `out` from s3d_howto100m.pth and s3d_dict.npy, and returns it.

    `out` appears whole or not at all: it is written beside and renamed. Raises ValueError, one line, if
    `out` exists or one of the files is not what it should be.
    """
    if out.exists() or out.is_symlink():
        raise ValueError(f"{out} exists; choose another path or remove it.")
    if not out.absolute().parent.is_dir():
        raise ValueError(f"{out.absolute().parent} is not a directory to write {out.name} in; make it first.")
    for path in (weights, words):
        if not path.is_file():
            raise ValueError(f"there is no file {path}; fetch it: `python -m weights_convert --download DIR`.")
    vocabulary = read_vocabulary(words)
    state = read_torch_file(weights, torch_state_spec(len(vocabulary)))
    check_values(weights, state)
    provenance = f"{weights.name} sha256:{_sha256(weights)} {words.name} sha256:{_sha256(words)}"
    ids = {word: i for i, word in enumerate(vocabulary, start=1)}
    encoder = Encoder(params=params_from_torch(state), vocabulary=ids, provenance=provenance)
    _save_whole(out, encoder)
    return encoder


def read_vocabulary(path: Path) -> list[str]:
    """The words of s3d_dict.npy; word i, from 0, has id i + 1. Raises ValueError if it is something else."""
    expected = f"one string array of shape ({VOCABULARY_SIZE},)"
    try:
        with path.open("rb") as file:
            array = np.load(file, allow_pickle=False)
            if not isinstance(array, np.ndarray):
                raise ValueError("it is an archive of arrays")
            if array.dtype.kind != "U" or array.shape != (VOCABULARY_SIZE,):
                raise ValueError(f"it has dtype {array.dtype} and shape {array.shape}")
            if file.read(1):
                raise ValueError("it goes on after its array")
        codes = array.astype(array.dtype.newbyteorder("=")).view(np.uint32)
        if codes.max() > sys.maxunicode:
            raise ValueError("it holds characters that do not exist")
        return array.tolist()
    except Exception as error:  # damaged headers raise many kinds
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(f"{path} is not S3D's vocabulary: {reason}; expected {expected}.") from error


def check_values(path: Path, state: dict[str, np.ndarray]) -> None:
    """Raises ValueError if a tensor has a NaN or infinity, or a running variance or count is negative."""
    problems = []
    for name, value in state.items():
        if not np.isfinite(value).all():
            problems.append(f"{name} is not finite everywhere")
        elif name.endswith(("running_var", "num_batches_tracked")) and (value < 0).any():
            problems.append(f"{name} is negative somewhere")
    if problems:
        raise ValueError(f"{path} is damaged: {', '.join(problems)}; download it again.")


def _save_whole(out: Path, encoder: Encoder) -> None:
    """`save_encoder` into a directory beside `out`, renamed at the end, removed on any failure."""
    partial = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.absolute().parent))
    try:
        save_encoder(partial / "encoder", encoder)
        os.rename(partial / "encoder", out.absolute())
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
