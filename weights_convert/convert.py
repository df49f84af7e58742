"""From the two public files to an encoder checkpoint."""

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

from rcjax.messages import enumerate_names, escape, one_line, quote
from rcjax.s3d import VOCABULARY_SIZE, Encoder, params_from_torch, save_encoder, torch_state_spec
from weights_convert.torch_file import read_torch_file

LONGEST_WORD = 200  # characters; the longest of the released list has 22
MOST_REPEATED = VOCABULARY_SIZE // 100  # words; a list of words hardly has any, a damaged file thousands of one
LARGEST_VALUE = 1e18  # of a weight: the product of larger ones overflows float32, so no network can be made of them
_NO_TEXT = re.compile("[\0\ud800-\udfff]")


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
    spec = torch_state_spec()
    _check_room(out.absolute().parent, sum(4 * math.prod(shape) for shape, _ in spec.values()))
    vocabulary = read_vocabulary(words)
    state = read_torch_file(weights, spec)
    check_values(weights, state)
    provenance = " ".join(f"{escape(path.name)} sha256:{_sha256(path)}" for path in (weights, words))
    ids = {word: i for i, word in enumerate(vocabulary, start=1)}
    try:
        params = params_from_torch(state)
    except ValueError as error:
        raise ValueError(f"{weights} cannot be used: {error}") from error
    encoder = Encoder(params=params, vocabulary=ids, provenance=provenance)
    _save_whole(out, encoder)
    return encoder


def read_vocabulary(path: Path) -> list[str]:
    """The words of s3d_dict.npy; word i, from 0, has id i + 1. Raises ValueError if it is something else.

    A few words may be there twice, as in the official code: the later id holds.
    """
    expected = f"one string array of shape ({VOCABULARY_SIZE},)"
    try:
        words = _read_strings(path).tolist()
        _check_words(words)
    except Exception as error:  # damaged headers raise many kinds
        reason = one_line(str(error), 300) or type(error).__name__
        raise ValueError(f"{path} is not S3D's vocabulary: {reason}; expected {expected}.") from error
    return words


def _read_strings(path: Path) -> np.ndarray:
    """The array of strings in the file, mapped first: a damaged header may claim more than memory holds."""
    with path.open("rb") as file:
        start = file.read(len(np.lib.format.MAGIC_PREFIX))
    if start != np.lib.format.MAGIC_PREFIX:
        raise ValueError("it does not begin as a .npy file does")
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    if array.dtype.kind != "U" or array.shape != (VOCABULARY_SIZE,):
        raise ValueError(f"it has dtype {array.dtype} and shape {array.shape}")
    if array.itemsize > 4 * LONGEST_WORD:
        raise ValueError(f"it has words of {array.itemsize // 4} characters, over {LONGEST_WORD}")
    if path.stat().st_size != array.offset + array.nbytes:
        raise ValueError("it goes on after its array")
    strings = np.array(array, array.dtype.newbyteorder("="))
    if strings.view(np.uint32).max() > sys.maxunicode:
        raise ValueError("it holds characters that do not exist")
    return strings


def _check_words(words: list[str]) -> None:
    """Raises ValueError for what no list of words can hold; odd ones that can do no harm may be in it."""
    damaged = [f"{quote(word)} (id {i})" for i, word in enumerate(words, start=1) if _NO_TEXT.search(word)]
    if damaged:
        raise ValueError(
            f"{len(damaged)} of its words are no text, but hold half a character or a NUL: " + enumerate_names(damaged)
        )
    repeated = len(words) - len(set(words))
    if repeated > MOST_REPEATED:
        most, count = collections.Counter(words).most_common(1)[0]
        raise ValueError(f"{repeated} of its words repeat another one, {quote(most)} is there {count} times")


def check_values(path: Path, state: dict[str, np.ndarray]) -> None:
    """Raises ValueError if a tensor is not finite or huge somewhere, or a running variance or count negative."""
    problems = []
    for name, value in state.items():
        if not np.isfinite(value).all():
            problems.append(f"{name} is not finite everywhere")
        elif value.dtype == np.float32 and max(value.max(), -value.min()) > LARGEST_VALUE:
            problems.append(f"{name} has values beyond {LARGEST_VALUE:g}")
        elif name.endswith(("running_var", "num_batches_tracked")) and (value < 0).any():
            problems.append(f"{name} is negative somewhere")
    if problems:
        raise ValueError(f"{path} is damaged: {enumerate_names(problems)}; download it again.")


def _check_room(folder: Path, n_bytes: int) -> None:
    """Raises ValueError unless a file of `n_bytes` can be made in `folder`.

    Orbax would find out late: threads of its outlive a write that fails, and leave files and tracebacks behind.
    """
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            if hasattr(os, "posix_fallocate"):  # not on macOS
                os.posix_fallocate(file.fileno(), 0, n_bytes)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
            return  # this file system cannot say
        problem = f"{folder} does not take the {n_bytes / 1e6:.0f} MB of an encoder ({error.strerror})"
        raise ValueError(f"{problem}; make room, or choose another path.") from error


def _save_whole(out: Path, encoder: Encoder) -> None:
    """`save_encoder` into a directory beside `out`, renamed at the end, removed on any failure."""
    partial = Path(tempfile.mkdtemp(prefix=".weights_convert-", dir=out.absolute().parent))
    try:
        save_encoder(partial / "encoder", encoder)
        os.rename(partial / "encoder", out.absolute())
    except Exception as error:  # Orbax and TensorStore raise many kinds
        raise ValueError(f"{out} cannot be written: {one_line(str(error), 300) or type(error).__name__}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
