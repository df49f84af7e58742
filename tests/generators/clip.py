"""Writes tests/data/clip_recorded.npz and clip_tokens.json: outputs of public implementations of CLIP.

Layers and embeddings are those of `CLIPModel` of Hugging Face's Transformers for the synthetic weights and frames, and
token ids are those of OpenCLIP's tokenizer. Run `python -m tests.generators.clip` from the repository root after a
change to tests/encoders/clip/synthetic.py. It needs torch, transformers, open_clip_torch, ftfy and regex.
"""

import gzip
import itertools
import json
from pathlib import Path

import numpy as np
import torch
import transformers
from transformers import CLIPConfig, CLIPModel

from rcjax.encoders.clip.tokenizer import BYTE_SYMBOLS, split_words
from rcjax.encoders.clip.vision import MEAN, STD
from tests.encoders.clip import synthetic
from tests.encoders.clip.openclip import import_tokenizer

N_MERGES = 48_894
SENTENCES = (
    "robot closing green drawer",
    "a photo of a cat",
    "  Robot\tCLOSING \n the   Green drawer ",
    "the robot's arm doesn't move; it'll stop, we've seen that they're here. I'm sure I'd know",
    "'s 'S don'T rock'n'roll 'tis ''re",
    "3 drawers, 42 buttons: 100% open!!! 2x3=6",
    'pick-and-place (v2) [peg_insert_side] #1 @home $5 & more... ?! ~`^*+{}|\\/<>"',
    "robot\u2019s \u201cgreen\u201d drawer",
    "caf\u00e9 na\u00efve \u00dcBER stra\u00dfe \u0440\u043e\u0431\u043e\u0442 \u673a\u5668\u4eba",
    "x\u00b2 \u00bd \u2167 7\u0663 \u4e09",
    "robot \U0001f916 ok\u2026",
    "fish &amp; chips &lt;b&gt; &amp;quot;",
    "unbelievablelongcompoundwordxyzzyqwv antidisestablishmentarianism",
    "close the drawer " * 30,
    "a" * 100,
)


def main() -> None:
    record_layers()
    record_tokens()


def huggingface_model(architecture=synthetic.ARCHITECTURE, n_tokens: int = synthetic.TOKENIZER.n_tokens) -> CLIPModel:
    """Returns Hugging Face's CLIP of this architecture with the synthetic weights."""
    sizes = architecture
    common = {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5, "projection_dim": sizes.embedding_size}
    config = CLIPConfig(
        text_config={
            "vocab_size": n_tokens,
            "hidden_size": sizes.text_width,
            "intermediate_size": 4 * sizes.text_width,
            "num_hidden_layers": sizes.text_layers,
            "num_attention_heads": sizes.text_heads,
            "max_position_embeddings": sizes.context_length,
            "bos_token_id": n_tokens - 2,
            "eos_token_id": n_tokens - 1,
            **common,
        },
        vision_config={
            "hidden_size": sizes.vision_width,
            "intermediate_size": 4 * sizes.vision_width,
            "num_hidden_layers": sizes.vision_layers,
            "num_attention_heads": sizes.vision_heads,
            "image_size": sizes.image_size,
            "patch_size": sizes.patch_size,
            **common,
        },
        projection_dim=sizes.embedding_size,
    )
    model = CLIPModel(config).eval()
    state = synthetic.huggingface_state(synthetic.random_state(sizes, n_tokens), sizes, n_tokens)
    loaded = model.load_state_dict({name: torch.tensor(array) for name, array in state.items()}, strict=False)
    assert not loaded.unexpected_keys and all(name.endswith("position_ids") for name in loaded.missing_keys)
    return model


def normalised_frames(clips: np.ndarray) -> torch.Tensor:
    """Returns the last frame of each clip as Hugging Face's model takes it, [n 3 H W]."""
    frames = (clips[:, -1].astype(np.float32) / 255 - np.float32(MEAN)) / np.float32(STD)
    return torch.tensor(np.moveaxis(frames, -1, 1).copy())


def record_layers() -> None:
    model, ids = huggingface_model(), synthetic.TOKENIZER.tokenize(synthetic.SENTENCES)
    with torch.no_grad():
        output = model(
            input_ids=torch.tensor(ids, dtype=torch.int64),
            pixel_values=normalised_frames(synthetic.clips()),
            output_hidden_states=True,
        )
    layers = {f"video{i}": x for i, x in enumerate(output.vision_model_output.hidden_states)}
    layers |= {f"text{i}": x for i, x in enumerate(output.text_model_output.hidden_states)}
    sampled = {name: x.numpy().ravel()[synthetic.sample_positions(x.numel())] for name, x in layers.items()}
    np.savez_compressed(
        synthetic.RECORDED,
        transformers_version=transformers.__version__,
        video_embedding=output.image_embeds.numpy(),
        text_embedding=output.text_embeds.numpy(),
        logits_per_image=output.logits_per_image.numpy(),
        **sampled,
    )


def record_tokens() -> None:
    module = import_tokenizer()
    tokenizer = module.SimpleTokenizer()
    ids = {sentence: tokenizer([sentence])[0].tolist() for sentence in SENTENCES}
    merges = gzip.decompress(Path(module.default_bpe()).read_bytes()).decode().split("\n")[1 : N_MERGES + 1]
    words = {"".join(BYTE_SYMBOLS[byte] for byte in word.encode()) for s in SENTENCES for word in split_words(s)}
    parts = {word[i:j] for word in words for i, j in itertools.combinations(range(len(word) + 1), 2)}
    used = {i: m for i, m in enumerate(merges) if m.replace(" ", "").removesuffix("</w>") in parts}
    recorded = {"source": "OpenAI's CLIP (MIT), by open_clip_torch", "n_merges": N_MERGES, "merges": used, "ids": ids}
    synthetic.TOKENS.write_text(json.dumps(recorded, indent=0))


if __name__ == "__main__":
    main()
