"""The `Encoder`: a network with its parameters, its vocabulary and its origin, and how it is saved and loaded."""

import dataclasses
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from jax.sharding import SingleDeviceSharding

from rcjax.encoders.clip.network import CLIP
from rcjax.encoders.network import Network, Params, Tokenizer
from rcjax.encoders.parameters import array_specs, describe_nonfinite
from rcjax.encoders.s3d.network import S3D
from rcjax.messages import describe_differences, one_line, quote

FORMAT = "rcjax-encoder-2"
OLD_FORMAT = "rcjax-s3d-1"  # before there were other networks than the released S3D

KINDS: dict[str, Callable[[Any], Network]] = {S3D.kind: S3D.from_json, CLIP.kind: CLIP.from_json}
"""How a network is read from a checkpoint, by its kind"""

SMALL = "small"
RANDOM = "random"
BUNDLED = {SMALL: Path(__file__).parent / "small"}
"""The encoders that come with the package, by name"""

NAMED = (RANDOM, *BUNDLED)
"""What `--encoder` takes beside folders"""

WAY_OUT = (
    f"make an encoder checkpoint with `python -m weights_convert`, or name the encoder that comes with rcjax: {SMALL}"
)


@dataclasses.dataclass(frozen=True)
class Encoder:
    """A network, and what it needs to turn clips and sentences into embeddings.

    `params` has the key `video` and, if there is a text tower, `text`; `tokenizer` reads sentences for the text tower,
    and is None if there is none. `provenance` says in one line where the weights come from.
    """

    network: Network
    params: Params
    tokenizer: Tokenizer | None
    provenance: str

    @property
    def fingerprint(self) -> str:
        """Eight hexadecimal digits of a digest of the parameters: other weights have another fingerprint."""
        digest = hashlib.sha256()
        for path, leaf in jax.tree_util.tree_leaves_with_path(self.params):
            digest.update(jax.tree_util.keystr(path).encode())
            digest.update(np.ascontiguousarray(leaf).tobytes())
        return digest.hexdigest()[:8]


def save_encoder(path: str | os.PathLike[str], encoder: Encoder) -> None:
    """Writes an Orbax checkpoint (a directory) that `load_encoder` can read on any number of devices.

    The checkpoint holds `params` as host arrays, and `about`, a JSON item with format, kind, network, provenance and
    tokenizer. Raises ValueError if `path` exists or if a parameter is not finite.
    """
    path = Path(path).absolute()
    if path.exists():
        raise ValueError(f"{path} exists; choose another path or remove it.")
    if problem := describe_nonfinite(encoder.params):
        raise ValueError(f"the encoder ({one_line(encoder.provenance, 200)}) is not saved: {problem}.")
    about = {
        "format": FORMAT,
        "kind": encoder.network.kind,
        "network": encoder.network.to_json(),
        "provenance": encoder.provenance,
        "tokenizer": None if encoder.tokenizer is None else encoder.tokenizer.to_json(),
    }
    with _checkpointer() as checkpointer:
        checkpointer.save(
            path,
            args=ocp.args.Composite(
                params=ocp.args.StandardSave(jax.tree.map(np.asarray, encoder.params)),
                about=ocp.args.JsonSave(about),
            ),
        )


def load_encoder(name_or_path: str | os.PathLike[str]) -> Encoder:
    """Returns an encoder on the default device; the checkpoint says of which kind it is.

    Args:
        name_or_path: The name of an encoder that comes with the package (`small`), or the directory that `python -m
            weights_convert` or `save_encoder` wrote.

    Raises:
        ValueError: Nothing exists at the path, or it is not a complete encoder checkpoint.
    """
    path = BUNDLED.get(str(name_or_path)) or Path(name_or_path).absolute()
    if not path.exists():
        raise ValueError(f"there is no encoder checkpoint at {path}; check the path, or {WAY_OUT}.")
    if not ((path / "params").is_dir() and (path / "about").is_dir()):
        raise ValueError(f"{path} is not an encoder checkpoint (a directory with `params` and `about`); {WAY_OUT}.")
    try:
        with _checkpointer() as checkpointer:
            about = checkpointer.restore(path, args=ocp.args.Composite(about=ocp.args.JsonRestore())).about
            network, tokenizer, provenance = _read_about(about)
            default_device = SingleDeviceSharding(jax.local_devices()[0])
            args = ocp.args.Composite(params=ocp.args.StandardRestore(fallback_sharding=default_device))
            params = checkpointer.restore(path, args=args).params
        _check_params(params, network, tokenizer)
    except Exception as error:  # Orbax and TensorStore raise exceptions of many types
        reason = one_line((str(error).strip() or type(error).__name__).splitlines()[0], 300)
        raise ValueError(f"{path} is not a complete encoder checkpoint: {reason}; {WAY_OUT}.") from error
    return Encoder(network, jax.tree.map(jnp.asarray, params), tokenizer, provenance)


def _checkpointer() -> ocp.Checkpointer:
    """Returns a checkpointer that never waits for another process.

    Only the first process of several writes, and each reads at its own time.
    """
    this_process = jax.process_index()
    options = ocp.options.MultiprocessingOptions(primary_host=this_process, active_processes={this_process})
    handler = ocp.CompositeCheckpointHandler(composite_options=ocp.CompositeOptions(multiprocessing_options=options))
    return ocp.Checkpointer(handler, multiprocessing_options=options)


def _read_about(about: Any) -> tuple[Network, Tokenizer | None, str]:
    """Returns network, tokenizer and provenance. Raises ValueError for anything but what `save_encoder` writes."""
    if isinstance(about, dict) and about.get("format") == OLD_FORMAT:
        about = {**about, "kind": S3D.kind, "network": S3D().to_json(), "tokenizer": about.get("vocabulary", "missing")}
    elif not isinstance(about, dict) or about.get("format") != FORMAT:
        raise ValueError(f"its `about` does not say format {FORMAT!r}")
    if not isinstance(about.get("provenance"), str):
        raise ValueError("its `about` does not say in `provenance` where the weights come from")
    kind = about.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"its kind is {quote(str(kind))}, expected one of {sorted(KINDS)}; a newer rcjax may know it")
    network = KINDS[kind](about.get("network"))
    stored = about.get("tokenizer", "missing")
    return network, None if stored is None else network.read_tokenizer(stored), about["provenance"]


def _check_params(params: Params, network: Network, tokenizer: Tokenizer | None) -> None:
    """Raises ValueError unless `params` are finite and fit the network."""
    if problems := describe_differences(array_specs(params), network.param_specs(tokenizer)):
        raise ValueError(
            f"its parameters have other names, shapes or dtypes than the {network.kind} that it says it is: {problems}"
        )
    if problem := describe_nonfinite(params):
        raise ValueError(problem)
