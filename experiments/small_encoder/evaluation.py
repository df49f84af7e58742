"""What an encoder knows: how well its similarities tell success from failure and task from task."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import rankdata, spearmanr

from experiments.small_encoder.dataset import VIDEO, Clips
from experiments.small_encoder.sentences import ALL_TASKS, HELD_OUT_TASKS, TRAINED_TASKS, split_sentences
from rcjax import similarity
from rcjax.encoders import Encoder
from rcjax.envs.registry import task_class

BATCH = 32  # clips that are embedded together


def embed_clips(encoder: Encoder, frames: np.ndarray) -> np.ndarray:
    """Returns the embeddings [n D] of clips [n F H W 3]."""
    return np.asarray(similarity.embed_clips(frames, encoder, VIDEO, BATCH))


def embed_sentences(encoder: Encoder, sentences: Sequence[str]) -> np.ndarray:
    """Returns the embeddings [n D] of sentences."""
    assert encoder.tokenizer is not None
    return np.asarray(encoder.network.embed_text(encoder.params, encoder.tokenizer.tokenize(sentences)))


def area_under_curve(score: np.ndarray, success: np.ndarray) -> float:
    """Returns the probability that a success has a higher score than a failure; NaN without one of them."""
    n_success, n_failure = success.sum(), (~success).sum()
    if not n_success or not n_failure:
        return float("nan")
    return float((rankdata(score)[success].sum() - n_success * (n_success + 1) / 2) / (n_success * n_failure))


Table = dict[str, dict[str, float]]
"""The numbers of the model card, by task"""


def evaluate(encoder: Encoder, clips: Mapping[str, Clips]) -> Table:
    """Returns, by task, the numbers of the model card, measured on clips that were not trained on.

    - `auc`: area under the curve of success, by the similarity with the task's prompt;
    - `auc_paraphrase`: the same, as a mean over the sentences that were held out;
    - `rank`: Spearman's correlation of the similarity with the episode's progress;
    - `recall`: share of the successful episodes that are most similar to their own task's prompt, of all.
    """
    prompts = embed_sentences(encoder, [task_class(task).prompt for task in ALL_TASKS])
    table = {}
    for task, of_task in clips.items():
        video = embed_clips(encoder, of_task.frames)
        by_prompt = video @ prompts.T
        own = by_prompt[:, ALL_TASKS.index(task)]
        paraphrases = embed_sentences(encoder, split_sentences(task)[1])
        table[task] = {
            "successes": float(of_task.success.mean()),
            "auc": area_under_curve(own, of_task.success),
            "auc_paraphrase": float(np.mean([area_under_curve(video @ text, of_task.success) for text in paraphrases])),
            "rank": float(np.asarray(spearmanr(own, of_task.progress))[0]),
            "recall": float((by_prompt.argmax(1) == ALL_TASKS.index(task))[of_task.success].mean())
            if of_task.success.any()
            else float("nan"),
        }
    return table


def summarize(table: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Returns the means over the tasks trained on, and over those never trained on."""
    return {
        name: {
            column: float(np.nanmean([table[task][column] for task in tasks])) for column in next(iter(table.values()))
        }
        for name, tasks in (("trained on", TRAINED_TASKS), ("never trained on", HELD_OUT_TASKS))
        if all(task in table for task in tasks)
    }
