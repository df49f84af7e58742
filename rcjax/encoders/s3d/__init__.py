"""S3D, the text-video model of HowTo100M (MIL-NCE), in Flax: the encoder that RoboCLIP's rewards come from.

`embed_video` and `embed_text` map clips and tokenized sentences to vectors (of 512 numbers in the released model); the
dot product of two of them is their similarity. They take `Encoder.params` as an argument and are not jitted::

    encoder = load_encoder("weights/s3d")
    video = embed_video(encoder.params, clips)
    text = embed_text(encoder.params, encoder.tokenizer.tokenize(["robot closing green drawer"]))
    similarity = video @ text.T

`S3D` is the same as a kind of encoder (`rcjax.encoders.network.Network`), with any width and depth.

Sources: S3D (Xie et al. 2018, arXiv:1712.04851); MIL-NCE (Miech et al. 2020, arXiv:1912.06430).
"""

from rcjax.encoders.s3d.architecture import BLOCK_WIDTHS, RELEASED, Architecture
from rcjax.encoders.s3d.network import S3D
from rcjax.encoders.s3d.text import MAX_WORDS, TEXT_LAYERS, WordTokenizer, embed_text, text_intermediates
from rcjax.encoders.s3d.video import VIDEO_LAYERS, embed_video, space_to_depth, video_intermediates
from rcjax.encoders.s3d.weights import VOCABULARY_SIZE, fold_batch_norm, params_from_torch, torch_state_spec

__all__ = [
    "BLOCK_WIDTHS",
    "MAX_WORDS",
    "RELEASED",
    "S3D",
    "TEXT_LAYERS",
    "VIDEO_LAYERS",
    "VOCABULARY_SIZE",
    "Architecture",
    "WordTokenizer",
    "embed_text",
    "embed_video",
    "fold_batch_norm",
    "params_from_torch",
    "space_to_depth",
    "text_intermediates",
    "torch_state_spec",
    "video_intermediates",
]
