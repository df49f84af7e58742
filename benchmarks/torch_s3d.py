"""The reference implementation: HowTo100M's S3D in PyTorch, written from the description of the model.

Names, shapes and order of the parameters are those of s3d_howto100m.pth. No code is shared with `rcjax.encoders.s3d`:
channels come first, batch norm is not folded, no convolutions are merged, and padding is written as the model states
it.
"""

from collections import OrderedDict

import torch
from torch import nn
from torch.nn import functional as F

BLOCKS = [
    ("mixed_3b", 192, 64, 96, 128, 16, 32, 32),
    ("mixed_3c", 256, 128, 128, 192, 32, 96, 64),
    ("mixed_4b", 480, 192, 96, 208, 16, 48, 64),
    ("mixed_4c", 512, 160, 112, 224, 24, 64, 64),
    ("mixed_4d", 512, 128, 128, 256, 24, 64, 64),
    ("mixed_4e", 512, 112, 144, 288, 32, 64, 64),
    ("mixed_4f", 528, 256, 160, 320, 32, 128, 128),
    ("mixed_5b", 832, 256, 160, 320, 32, 128, 128),
    ("mixed_5c", 832, 384, 192, 384, 48, 128, 128),
]


class ConvNorm(nn.Module):
    """Convolution, batch norm and ReLU; twice (over space, then over time) if `separable`."""

    def __init__(self, inputs, outputs, kernel, padding: int | tuple[int, int, int] = 0, separable=False):
        super().__init__()
        self.separable = separable
        if separable:
            self.conv1 = nn.Conv3d(inputs, outputs, (1, 3, 3), padding=(0, 1, 1), bias=False)
        else:
            self.conv1 = nn.Conv3d(inputs, outputs, kernel, padding=padding, bias=False)
        self.bn1 = nn.BatchNorm3d(outputs)
        if separable:
            self.conv2 = nn.Conv3d(outputs, outputs, (3, 1, 1), padding=(1, 0, 0), bias=False)
            self.bn2 = nn.BatchNorm3d(outputs)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(x))) if self.separable else x


class Gating(nn.Module):
    """Multiplies each channel by a sigmoid of a linear map of the channels' means."""

    def __init__(self, channels):
        super().__init__()
        self.fc = nn.Linear(channels, channels)

    def forward(self, x):
        weights = torch.sigmoid(self.fc(x.mean(dim=[2, 3, 4])))
        return weights[:, :, None, None, None] * x


def ceil_pool(x, kernel, stride):
    """Pads with max(k - s, 0) zeros, the smaller half first, and max-pools in ceil mode."""
    pads = []
    for k, s in reversed(list(zip(kernel, stride, strict=True))):
        total = max(k - s, 0)
        pads += [total // 2, total - total // 2]
    return F.max_pool3d(F.pad(x, pads), kernel, stride, ceil_mode=True)


class Block(nn.Module):
    """The inception block, with a gate for each branch."""

    def __init__(self, inputs, b0, b1_a, b1_b, b2_a, b2_b, b3_b):
        super().__init__()
        self.conv_b0 = ConvNorm(inputs, b0, 1)
        self.conv_b1_a = ConvNorm(inputs, b1_a, 1)
        self.conv_b1_b = ConvNorm(b1_a, b1_b, None, separable=True)
        self.conv_b2_a = ConvNorm(inputs, b2_a, 1)
        self.conv_b2_b = ConvNorm(b2_a, b2_b, None, separable=True)
        self.conv_b3_b = ConvNorm(inputs, b3_b, 1)
        self.gating_b0 = Gating(b0)
        self.gating_b1 = Gating(b1_b)
        self.gating_b2 = Gating(b2_b)
        self.gating_b3 = Gating(b3_b)

    def forward(self, x):
        y0 = self.gating_b0(self.conv_b0(x))
        y1 = self.gating_b1(self.conv_b1_b(self.conv_b1_a(x)))
        y2 = self.gating_b2(self.conv_b2_b(self.conv_b2_a(x)))
        y3 = self.gating_b3(self.conv_b3_b(F.max_pool3d(x, 3, 1, padding=1)))
        return torch.cat([y0, y1, y2, y3], dim=1)


class TextModule(nn.Module):
    """The text tower; `forward` returns every named layer of token ids [n 16]."""

    def __init__(self, words):
        super().__init__()
        self.word_embd = nn.Embedding(words, 300)
        self.fc1 = nn.Linear(300, 2048)
        self.fc2 = nn.Linear(2048, 512)

    def forward(self, ids):
        layers = OrderedDict(word_embd=self.word_embd(ids))
        layers["fc1"] = F.relu(self.fc1(layers["word_embd"]))
        layers["max"] = torch.max(layers["fc1"], dim=1)[0]
        layers["fc2"] = self.fc2(layers["max"])
        return layers


class S3D(nn.Module):
    """The whole model. `words` is the number of rows of the word table."""

    def __init__(self, words=66250):
        super().__init__()
        self.conv1 = ConvNorm(24, 64, (2, 4, 4), padding=(1, 2, 2))
        self.conv_2b = ConvNorm(64, 64, 1)
        self.conv_2c = ConvNorm(64, 192, None, separable=True)
        self.gating = Gating(192)
        for name, *widths in BLOCKS:
            setattr(self, name, Block(*widths))
        self.fc = nn.Linear(1024, 512)
        self.text_module = TextModule(words)

    def video_layers(self, clips):
        """Returns every named layer of clips [n 3 T H W] in [0, 1], channels first."""
        n, c, t, h, w = clips.shape
        x = clips.view(n, c, t // 2, 2, h // 2, 2, w // 2, 2)
        x = x.permute(0, 3, 5, 7, 1, 2, 4, 6).reshape(n, 24, t // 2, h // 2, w // 2)
        layers = OrderedDict()
        layers["conv1"] = self.conv1(x)[:, :, 1:, 1:, 1:]
        layers["maxpool_2a"] = ceil_pool(layers["conv1"], (1, 3, 3), (1, 2, 2))
        layers["conv_2b"] = self.conv_2b(layers["maxpool_2a"])
        layers["conv_2c"] = self.conv_2c(layers["conv_2b"])
        layers["gating"] = self.gating(layers["conv_2c"])
        x = layers["maxpool_3a"] = ceil_pool(layers["gating"], (1, 3, 3), (1, 2, 2))
        for name, *_ in BLOCKS:
            if name == "mixed_4b":
                x = layers["maxpool_4a"] = ceil_pool(x, (3, 3, 3), (2, 2, 2))
            if name == "mixed_5b":
                x = layers["maxpool_5a"] = ceil_pool(x, (2, 2, 2), (2, 2, 2))
            x = layers[name] = getattr(self, name)(x)
        layers["pooled"] = x.mean(dim=[2, 3, 4])
        layers["embedding"] = self.fc(layers["pooled"])
        return layers


@torch.no_grad()
def calibrate_batch_norm(model, clips):
    """Sets the running statistics of each batch norm to those of its input over `clips`, in one forward pass."""

    def set_statistics(module, inputs):
        module.running_mean.copy_(inputs[0].mean(dim=[0, 2, 3, 4]))
        module.running_var.copy_(inputs[0].var(dim=[0, 2, 3, 4]))

    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm3d)]
    hooks = [norm.register_forward_pre_hook(set_statistics) for norm in norms]
    model.eval()
    model.video_layers(clips)
    for hook in hooks:
        hook.remove()


def channels_first(clips_u8):
    """Converts NumPy uint8 [n T H W 3] to torch floats [n 3 T H W] in [0, 1]."""
    return torch.tensor(clips_u8).permute(0, 4, 1, 2, 3).float() / 255
