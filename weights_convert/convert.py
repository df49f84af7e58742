"""Converts the two public files of S3D to an encoder checkpoint."""

import collections
import errno
import hashlib
import math
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np

from rcjax.encoders import Encoder, save_encoder
from rcjax.encoders.s3d import S3D, VOCABULARY_SIZE, WordTokenizer, params_from_torch, torch_state_spec
from rcjax.messages import enumerate_names, escape, one_line, quote
from weights_convert.torch_file import read_torch_file

MAX_WORD_LENGTH = 200  # characters; the longest released word has 22
MAX_REPEATED_WORDS = (
    VOCABULARY_SIZE // 100
)  # a real list has hardly any, a damaged file repeats one word thousands of times
MAX_ABS_VALUE = 1e18  # of a weight; the product of larger ones overflows float32, so the network could not run
_NOT_TEXT = re.compile("[\0\ud800-\udfff]")


def convert(weights: Path, words: Path, out: Path) -> Encoder:
    """Converts s3d_howto100m.pth (`weights`) and s3d_dict.npy (`words`) to the checkpoint `out`; returns the encoder.

    `out` is written to a temporary directory beside it and then renamed, so that it is complete or does not exist.
    Raises ValueError with a message of one line if `out` exists, if it cannot be written, or if one of the files is
    wrong.
    """
    check_out(out)
    for path in (weights, words):
        if not path.is_file():
            raise ValueError(f"there is no file {path}; fetch it: `python -m weights_convert --download DIR`.")
    spec = torch_state_spec()
    check_disk_space(out.absolute().parent, sum(4 * math.prod(shape) for shape, _ in spec.values()))
    vocabulary = read_vocabulary(words)
    state = read_torch_file(weights, spec)
    check_values(weights, state)
    provenance = " ".join(f"{escape(path.name)} sha256:{file_sha256(path)}" for path in (weights, words))
    ids = {word: i for i, word in enumerate(vocabulary, start=1)}
    try:
        params = params_from_torch(state)
    except ValueError as error:
        raise ValueError(f"{weights} cannot be used: {error}") from error
    encoder = Encoder(S3D(), params, WordTokenizer(ids), provenance)
    save_atomically(out, encoder)
    return encoder


def read_vocabulary(path: Path) -> list[str]:
    """Returns the words of s3d_dict.npy; the word at index i has id i + 1. Raises ValueError for another file.

    A few words may occur twice; as in the official code, the later id is used.
    """
    expected = f"one string array of shape ({VOCABULARY_SIZE},)"
    try:
        words = _read_strings(path).tolist()
        _check_words(words)
    except Exception as error:  # damaged headers raise exceptions of many types
        reason = one_line(str(error), 300) or type(error).__name__
        raise ValueError(f"{path} is not S3D's vocabulary: {reason}; expected {expected}.") from error
    return words


def _read_strings(path: Path) -> np.ndarray:
    """Returns the array of strings in the file, memory-mapped first since a damaged header may claim any size."""
    with path.open("rb") as file:
        start = file.read(len(np.lib.format.MAGIC_PREFIX))
    if start != np.lib.format.MAGIC_PREFIX:
        raise ValueError("it does not begin like a .npy file")
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    if array.dtype.kind != "U" or array.shape != (VOCABULARY_SIZE,):
        raise ValueError(f"it has dtype {array.dtype} and shape {array.shape}")
    if array.itemsize > 4 * MAX_WORD_LENGTH:
        raise ValueError(f"it has words of {array.itemsize // 4} characters, over {MAX_WORD_LENGTH}")
    if path.stat().st_size != array.offset + array.nbytes:
        raise ValueError("it continues after its array")
    strings = np.array(array, array.dtype.newbyteorder("="))
    if strings.view(np.uint32).max() > sys.maxunicode:
        raise ValueError("it holds characters that do not exist")
    return strings


def _check_words(words: list[str]) -> None:
    """Raises ValueError for strings that cannot be words; unusual but harmless ones are accepted."""
    damaged = [f"{quote(word)} (id {i})" for i, word in enumerate(words, start=1) if _NOT_TEXT.search(word)]
    if damaged:
        raise ValueError(
            f"{len(damaged)} of its words are not valid text, but hold a surrogate or a NUL: "
            + enumerate_names(damaged)
        )
    repeated = len(words) - len(set(words))
    if repeated > MAX_REPEATED_WORDS:
        most, count = collections.Counter(words).most_common(1)[0]
        raise ValueError(f"{repeated} of its words repeat another one; {quote(most)} occurs {count} times")


def check_values(path: Path, state: dict[str, np.ndarray]) -> None:
    """Raises ValueError if a tensor has a huge or non-finite value, or a negative running variance or count."""
    problems = []
    for name, value in state.items():
        if not np.isfinite(value).all():
            problems.append(f"{name} is not finite everywhere")
        elif value.dtype == np.float32 and max(value.max(), -value.min()) > MAX_ABS_VALUE:
            problems.append(f"{name} has values beyond {MAX_ABS_VALUE:g}")
        elif name.endswith(("running_var", "num_batches_tracked")) and (value < 0).any():
            problems.append(f"{name} is negative somewhere")
    if problems:
        raise ValueError(f"{path} is damaged: {enumerate_names(problems)}; download it again.")


def check_out(out: Path) -> None:
    """Raises ValueError if `out` exists, or if there is no directory to write it in."""
    if out.exists() or out.is_symlink():
        raise ValueError(f"{out} exists; choose another path or remove it.")
    if not out.absolute().parent.is_dir():
        raise ValueError(f"{out.absolute().parent} is not a directory to write {out.name} in; create it first.")


def check_disk_space(folder: Path, n_bytes: int) -> None:
    """Raises ValueError unless a file of `n_bytes` can be created in `folder`.

    Orbax would fail late: its threads outlive a failed write, and leave files and tracebacks behind.
    """
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            if hasattr(os, "posix_fallocate"):  # not on macOS
                os.posix_fallocate(file.fileno(), 0, n_bytes)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
            return  # this file system does not support the check
        problem = f"{folder} has no room for the {n_bytes / 1e6:.0f} MB of an encoder ({error.strerror})"
        raise ValueError(f"{problem}; free some space, or choose another path.") from error


def save_atomically(out: Path, encoder: Encoder) -> None:
    """Saves into a temporary directory beside `out` and renames it; removes it after any failure."""
    partial = Path(tempfile.mkdtemp(prefix=".weights_convert-", dir=out.absolute().parent))
    try:
        save_encoder(partial / "encoder", encoder)
        os.rename(partial / "encoder", out.absolute())
    except Exception as error:  # Orbax and TensorStore raise exceptions of many types
        raise ValueError(f"{out} cannot be written: {one_line(str(error), 300) or type(error).__name__}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def file_sha256(path: Path) -> str:
    """Returns the SHA-256 of the file's bytes in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
