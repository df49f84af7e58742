"""An encoder is parameters, a vocabulary and where they came from; here it is saved and loaded."""

import dataclasses
import os
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from jax.sharding import SingleDeviceSharding

from rcjax.messages import Spec, describe_differences, enumerate_names, one_line
from rcjax.s3d.text import MAX_WORDS, TextTower
from rcjax.s3d.video import VideoTower

FORMAT = "rcjax-s3d-1"


@dataclasses.dataclass(frozen=True)
class Encoder:
    """What it takes to embed: give `params` to `embed_video` and `embed_text`, `vocabulary` to `tokenize`.

    `params` has `video` and, if there is a text tower, `text`. `vocabulary` maps a lower-case word to its
    row in the text tower's table (from 1; 0 is padding), or is None where there is no text tower.
    `provenance` says in one line where the weights are from.
    """

    params: dict[str, Any]
    vocabulary: dict[str, int] | None
    provenance: str


def save_encoder(path: str | os.PathLike[str], encoder: Encoder) -> None:
    """Writes an Orbax checkpoint, a directory, that `load_encoder` reads on any number of devices.

    It holds `params` as host arrays and `about`, JSON: format, provenance and vocabulary.
    Raises ValueError if `path` exists or a parameter is not finite.
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
    """The encoder that `python -m weights_convert` or `save_encoder` wrote at `path`, on the default device.

    Raises ValueError if there is nothing at `path`, or something else than a whole encoder checkpoint.
    """
    path = Path(path).absolute()
    way_out = "make an encoder checkpoint with `python -m weights_convert`"
    if not path.exists():
        raise ValueError(f"there is no encoder checkpoint at {path}; check the path, or {way_out}.")
    if not ((path / "params").is_dir() and (path / "about").is_dir()):
        raise ValueError(f"{path} is not an encoder checkpoint (a directory with `params` and `about`); {way_out}.")
    try:
        with _checkpointer() as checkpointer:
            about = checkpointer.restore(path, args=ocp.args.Composite(about=ocp.args.JsonRestore())).about
            _check_about(about)
            here = SingleDeviceSharding(jax.local_devices()[0])
            args = ocp.args.Composite(params=ocp.args.StandardRestore(fallback_sharding=here))
            params = checkpointer.restore(path, args=args).params
        vocabulary, provenance = about["vocabulary"], str(about["provenance"])
        _check_params(params, vocabulary)
    except Exception as error:  # Orbax and TensorStore raise many kinds
        reason = one_line((str(error).strip() or type(error).__name__).splitlines()[0], 300)
        raise ValueError(f"{path} is not a whole encoder checkpoint: {reason}; {way_out}.") from error
    params = jax.tree.map(jnp.asarray, params)
    return Encoder(params=params, vocabulary=vocabulary, provenance=provenance)


def _checkpointer() -> ocp.Checkpointer:
    """Of this process alone: it waits for no other, as the first of many writes and each reads when it comes to it."""
    own = jax.process_index()
    options = ocp.options.MultiprocessingOptions(primary_host=own, active_processes={own})
    handler = ocp.CompositeCheckpointHandler(composite_options=ocp.CompositeOptions(multiprocessing_options=options))
    return ocp.Checkpointer(handler, multiprocessing_options=options)


def _check_about(about: Any) -> None:
    """Raises ValueError unless `about` is what `save_encoder` writes."""
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise ValueError(f"its `about` does not say format {FORMAT!r}")
    if not isinstance(about.get("provenance"), str):
        raise ValueError("its `about` does not say in `provenance` where the weights are from")
    vocabulary = about.get("vocabulary", "missing")
    is_vocabulary = isinstance(vocabulary, dict) and all(type(row) is int and row > 0 for row in vocabulary.values())
    if vocabulary is not None and not is_vocabulary:
        raise ValueError("its `vocabulary` does not map words to rows, whole numbers from 1")


def _check_params(params: dict[str, Any], vocabulary: dict[str, int] | None) -> None:
    """Raises ValueError unless `params` are what this version's towers take, and finite."""
    clip, ids = jnp.zeros((1, 1, 1, 1, 24)), jnp.zeros((1, MAX_WORDS), jnp.int32)
    expected = {"video": _param_shapes(VideoTower(), clip)}
    if vocabulary is not None:
        rows = max(vocabulary.values(), default=0) + 1
        expected["text"] = _param_shapes(TextTower(words=rows), ids)
    if problems := describe_differences(_spec(params), _spec(expected)):
        raise ValueError(f"its parameters have other names, shapes or dtypes than this version's S3D: {problems}")
    if problem := _describe_nonfinite(params):
        raise ValueError(problem)


def _param_shapes(tower: VideoTower | TextTower, example: jax.Array) -> dict[str, Any]:
    return jax.eval_shape(lambda: tower.init(jax.random.key(0), example))["params"]


def _spec(params: Any) -> Spec:
    return {
        name: (tuple(np.shape(a)), str(getattr(a, "dtype", type(a).__name__))) for name, a in _by_name(params).items()
    }


def _describe_nonfinite(params: Any) -> str:
    """Which parameters hold a NaN or an infinity; "" if none does."""
    names = [name for name, a in _by_name(params).items() if not np.isfinite(np.asarray(a)).all()]
    return f"not finite everywhere: {enumerate_names(names)}" if names else ""


def _by_name(params: Any) -> dict[str, Any]:
    """The arrays by path, such as video/conv1/kernel."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}
