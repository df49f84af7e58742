"""An alignment as tables in Markdown, and as a picture of its matrices."""

import json
from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from rcjax import __version__
from rcjax.alignment import Alignment, to_json
from rcjax.encoders import Encoder
from rcjax.files import write_atomically
from rcjax.messages import one_line

MATRICES = {
    "similarity": "mean similarity of successful episodes",
    "centred": "the same, without the mean of each column",
    "spearman": "Spearman's correlation with the true return",
}
MAX_LABEL = 60  # characters of a row's or a column's name


def write(alignment: Alignment, folder: Path, encoder: Encoder, seed: int) -> None:
    """Writes table.md, table.json and figure.png into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    about = {"encoder": encoder.provenance, "seed": seed, "rcjax": __version__}
    values = json.dumps(about | to_json(alignment), indent=1) + "\n"
    table = f"Encoder: {one_line(encoder.provenance, 300)}\n\n{as_markdown(alignment)}"
    write_atomically(folder / "table.json", lambda part: part.write_text(values))
    write_atomically(folder / "table.md", lambda part: part.write_text(table))
    alignment_figure(alignment, folder / "figure.png", one_line(encoder.provenance, 120))


def as_markdown(alignment: Alignment) -> str:
    """Returns a table for each matrix, with what it says about each row's own demonstration."""
    return "\n".join(_table(alignment, name, title) for name, title in MATRICES.items())


def _table(alignment: Alignment, name: str, title: str) -> str:
    columns = [_cell(column) for column in alignment.columns]
    lines = [
        f"**{title[0].upper()}{title[1:]}**",
        "",
        f"| episodes of | number | successful | {' | '.join(columns)} |",
        "|".join(["", *[" --- "] * (3 + len(columns)), ""]),
    ]
    matrix = getattr(alignment, name)
    for i, row in enumerate(alignment.rows):
        cells = [_value(alignment, name, i, j) for j in range(len(columns))]
        if not np.isnan(matrix[i]).all():
            best = int(np.nanargmax(matrix[i]))
            cells[best] = f"**{cells[best]}**"
        successes = alignment.n_successes[i]
        counts = [str(alignment.n_episodes[i]), "" if successes is None else str(successes)]
        lines.append(f"| {' | '.join([_cell(row), *counts, *cells])} |")
    return "\n".join([*lines, "", describe_own(alignment, name), ""])


def _cell(text: str) -> str:
    return one_line(text, MAX_LABEL).replace("|", "\\|")


def _value(alignment: Alignment, name: str, i: int, j: int) -> str:
    value = getattr(alignment, name)[i, j]
    if np.isnan(value):
        return "-"
    if name != "spearman" or not (alignment.is_paired and i == j):
        return f"{value:.3g}"
    low, high = alignment.spearman_low[i, j], alignment.spearman_high[i, j]
    return f"{value:.2f} ({low:.2f} to {high:.2f}; p = {alignment.spearman_p[i, j]:.2g})"


def describe_own(alignment: Alignment, name: str) -> str:
    """Returns in one sentence how far rows have their highest value in the column of their own demonstration."""
    own = alignment.own(name)
    if own is None:
        return "The highest value of each row is in bold."
    return (
        f"The highest value of each row, in bold, is that of its own demonstration in {own.hits} of "
        f"{len(alignment.rows)} rows; the rows' own values are as high by chance with p = {own.p_value:.2g}."
    )


def alignment_figure(alignment: Alignment, path: Path, title: str) -> None:
    """Draws the similarities and the correlations as coloured matrices, in a PNG file.

    Each row is coloured by itself from its lowest to its highest value, and its own demonstration is framed.
    """
    names = [name for name in ("similarity", "spearman") if not np.isnan(getattr(alignment, name)).all()]
    n_rows, n_columns = alignment.similarity.shape
    width, height = 3.2 + 0.85 * n_columns, 2.6 + 0.5 * n_rows
    figure, axes = plt.subplots(
        1, len(names), figsize=(width * len(names), height), layout="constrained", squeeze=False
    )
    for axis, name in zip(axes[0], names, strict=True):
        _draw_matrix(axis, getattr(alignment, name), alignment.rows, alignment.columns, alignment.is_paired)
        axis.set_title(MATRICES[name])
    figure.suptitle(one_line(title, 150), parse_math=False)
    write_atomically(path, lambda part: figure.savefig(part, dpi=110, format="png"))
    plt.close(figure)


def _draw_matrix(
    axis: Axes, matrix: Float[np.ndarray, "R C"], rows: Sequence[str], columns: Sequence[str], is_paired: bool
) -> None:
    known = np.nan_to_num(matrix)
    low, high = known.min(1, keepdims=True), known.max(1, keepdims=True)
    shade = (known - low) / np.where(high > low, high - low, 1)
    axis.imshow(shade, cmap="viridis", vmin=0, vmax=1, aspect="auto")
    for i, j in np.ndindex(*matrix.shape):
        text = "-" if np.isnan(matrix[i, j]) else f"{matrix[i, j]:.2g}"
        colour = "black" if shade[i, j] > 0.6 else "white"
        axis.text(j, i, text, ha="center", va="center", color=colour, fontsize=9)
        if is_paired and i == j:
            axis.add_patch(Rectangle((j - 0.47, i - 0.47), 0.94, 0.94, fill=False, edgecolor="C1", linewidth=2.5))
    options = {"parse_math": False}
    axis.set_xticks(range(len(columns)), [one_line(x, MAX_LABEL) for x in columns], rotation=35, ha="right", **options)
    axis.set_yticks(range(len(rows)), [one_line(x, MAX_LABEL) for x in rows], **options)
