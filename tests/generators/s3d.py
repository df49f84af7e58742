"""Writes tests/data/s3d_recorded.npz: the outputs of the PyTorch reference for the synthetic weights and clips.

Run `python -m tests.generators.s3d` from the repository root after a change to tests/encoders/s3d/synthetic.py. It
needs torch.
"""

import numpy as np
import torch

from benchmarks.torch_s3d import S3D, calibrate_batch_norm, channels_first
from rcjax.encoders.s3d import TEXT_LAYERS, VIDEO_LAYERS
from tests.encoders.s3d import synthetic

TOKEN_IDS = np.array([[1, 2, 3, 4] + [0] * 12, [*range(1, 13), 1, 2, 3, 4], [9] + [0] * 15])


def main() -> None:
    """Calibrates the model on 4 clips, and records its outputs for 2 other clips."""
    state = synthetic.random_state()
    model = S3D(words=len(synthetic.WORDS) + 1).eval()
    model.load_state_dict({name: torch.tensor(value) for name, value in state.items()})
    calibrate_batch_norm(model, channels_first(synthetic.structured_clips(4, *synthetic.CLIP_SHAPE)))
    calibrated = model.state_dict()
    out = {
        "statistics": np.concatenate([calibrated[name].numpy() for name in synthetic.statistics_names()]),
        "token_ids": TOKEN_IDS.astype(np.int32),
    }
    with torch.no_grad():
        video = model.video_layers(channels_first(synthetic.structured_clips(2, *synthetic.CLIP_SHAPE, seed=1)))
        text = model.text_module(torch.tensor(TOKEN_IDS))
    assert tuple(video) == VIDEO_LAYERS and tuple(text) == TEXT_LAYERS
    for name, value in (video | text).items():
        value = np.moveaxis(value.numpy(), 1, -1) if value.ndim == 5 else value.numpy()
        out[f"{name}.shape"] = np.array(value.shape)
        out[f"{name}.sample"] = value.ravel()[synthetic.sample_positions(value.size)]
    out["video_embedding"], out["text_embedding"] = video["embedding"].numpy(), text["fc2"].numpy()
    np.savez_compressed(synthetic.RECORDED, **out)
    print(f"{synthetic.RECORDED}: {synthetic.RECORDED.stat().st_size} bytes")


if __name__ == "__main__":
    main()
