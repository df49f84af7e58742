"""The `Encoder`: S3D's parameters, their vocabulary and their origin, and how it is saved and loaded."""

import dataclasses
import os
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from jax.sharding import SingleDeviceSharding

from rcjax.messages import ArraySpecs, describe_differences, enumerate_names, one_line
from rcjax.s3d.layers import Params
from rcjax.s3d.text import MAX_WORDS, TextTower
from rcjax.s3d.video import VideoTower

FORMAT = "rcjax-s3d-1"


@dataclasses.dataclass(frozen=True)
class Encoder:
    """The input of the embedding functions: `params` of `embed_video` and `embed_text`, `vocabulary` of `tokenize`.

    `params` has the key `video` and, if there is a text tower, `text`. `vocabulary` maps a lower-case word to its row
    in the text tower's table (from 1; row 0 is padding), or is None if there is no text tower. `provenance` says in
    one line where the weights come from.
    """

    params: Params
    vocabulary: dict[str, int] | None
    provenance: str


def save_encoder(path: str | os.PathLike[str], encoder: Encoder) -> None:
    """Writes an Orbax checkpoint (a directory) that `load_encoder` can read on any number of devices.

    The checkpoint holds `params` as host arrays, and `about`, a JSON item with format, provenance and vocabulary.
    Raises ValueError if `path` exists or if a parameter is not finite.
    """
    path = Path(path).absolute()
    if path.exists():
        raise ValueError(f"{path} exists; choose another path or remove it.")
    if problem := _describe_nonfinite(encoder.params):
        raise ValueError(f"the encoder ({one_line(encoder.provenance, 200)}) is not saved: {problem}.")
    about = {"format": FORMAT, "provenance": encoder.provenance, "vocabulary": encoder.vocabulary}
    with _checkpointer() as checkpointer:
        checkpointer.save(
            path,
            args=ocp.args.Composite(
                params=ocp.args.StandardSave(jax.tree.map(np.asarray, encoder.params)),
                about=ocp.args.JsonSave(about),
            ),
        )


def load_encoder(path: str | os.PathLike[str]) -> Encoder:
    """Returns the encoder that `python -m weights_convert` or `save_encoder` wrote at `path`, on the default device.

    Raises ValueError if nothing exists at `path`, or if it is not a complete encoder checkpoint.
    """
    path = Path(path).absolute()
    hint = "make an encoder checkpoint with `python -m weights_convert`"
    if not path.exists():
        raise ValueError(f"there is no encoder checkpoint at {path}; check the path, or {hint}.")
    if not ((path / "params").is_dir() and (path / "about").is_dir()):
        raise ValueError(f"{path} is not an encoder checkpoint (a directory with `params` and `about`); {hint}.")
    try:
        with _checkpointer() as checkpointer:
            about = checkpointer.restore(path, args=ocp.args.Composite(about=ocp.args.JsonRestore())).about
            _check_about(about)
            default_device = SingleDeviceSharding(jax.local_devices()[0])
            args = ocp.args.Composite(params=ocp.args.StandardRestore(fallback_sharding=default_device))
            params = checkpointer.restore(path, args=args).params
        vocabulary, provenance = about["vocabulary"], str(about["provenance"])
        _check_params(params, vocabulary)
    except Exception as error:  # Orbax and TensorStore raise exceptions of many types
        reason = one_line((str(error).strip() or type(error).__name__).splitlines()[0], 300)
        raise ValueError(f"{path} is not a complete encoder checkpoint: {reason}; {hint}.") from error
    params = jax.tree.map(jnp.asarray, params)
    return Encoder(params=params, vocabulary=vocabulary, provenance=provenance)


def _checkpointer() -> ocp.Checkpointer:
    """Returns a checkpointer that never waits for another process.

    Only the first process of several writes, and each reads at its own time.
    """
    this_process = jax.process_index()
    options = ocp.options.MultiprocessingOptions(primary_host=this_process, active_processes={this_process})
    handler = ocp.CompositeCheckpointHandler(composite_options=ocp.CompositeOptions(multiprocessing_options=options))
    return ocp.Checkpointer(handler, multiprocessing_options=options)


def _check_about(about: Any) -> None:
    """Raises ValueError unless `about` has the content that `save_encoder` writes."""
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise ValueError(f"its `about` does not say format {FORMAT!r}")
    if not isinstance(about.get("provenance"), str):
        raise ValueError("its `about` does not say in `provenance` where the weights come from")
    vocabulary = about.get("vocabulary", "missing")
    is_vocabulary = isinstance(vocabulary, dict) and all(type(row) is int and row > 0 for row in vocabulary.values())
    if vocabulary is not None and not is_vocabulary:
        raise ValueError("its `vocabulary` does not map words to rows, which are whole numbers from 1")


def _check_params(params: Params, vocabulary: dict[str, int] | None) -> None:
    """Raises ValueError unless `params` are finite and fit the towers of this version."""
    clip, ids = jnp.zeros((1, 1, 1, 1, 24)), jnp.zeros((1, MAX_WORDS), jnp.int32)
    expected = {"video": _param_shapes(VideoTower(), clip)}
    if vocabulary is not None:
        rows = max(vocabulary.values(), default=0) + 1
        expected["text"] = _param_shapes(TextTower(n_rows=rows), ids)
    if problems := describe_differences(_array_specs(params), _array_specs(expected)):
        raise ValueError(f"its parameters have other names, shapes or dtypes than S3D in this version: {problems}")
    if problem := _describe_nonfinite(params):
        raise ValueError(problem)


def _param_shapes(tower: VideoTower | TextTower, example: jax.Array) -> Params:
    return jax.eval_shape(lambda: tower.init(jax.random.key(0), example))["params"]


def _array_specs(params: Params) -> ArraySpecs:
    return {
        name: (tuple(np.shape(a)), str(getattr(a, "dtype", type(a).__name__)))
        for name, a in _leaves_by_path(params).items()
    }


def _describe_nonfinite(params: Params) -> str:
    """Names the parameters that hold a NaN or an infinity; returns "" if none does."""
    names = [name for name, a in _leaves_by_path(params).items() if not np.isfinite(np.asarray(a)).all()]
    return f"not finite everywhere: {enumerate_names(names)}" if names else ""


def _leaves_by_path(params: Params) -> dict[str, Any]:
    """Returns the arrays by their path, such as video/conv1/kernel."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}
