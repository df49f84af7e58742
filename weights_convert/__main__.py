"""`python -m weights_convert` converts released PyTorch weights to an encoder checkpoint."""

import argparse
import sys
from pathlib import Path
from typing import NoReturn

from rcjax.messages import one_line
from weights_convert.download import BASE_URL, FILES, download

DESCRIPTION = """\
Turns released weights into the Orbax checkpoint that rcjax loads. PyTorch is not needed, and no code in the files is
executed. Which model it is follows from the files.

S3D (HowTo100M, MIL-NCE: Miech et al. 2020, arXiv:1912.06430):

  python -m weights_convert --download weights
  python -m weights_convert weights/s3d_howto100m.pth weights/s3d_dict.npy weights/s3d

CLIP ViT-B/32 (OpenAI: Radford et al. 2021, arXiv:2103.00020), which embeds the last frame of an episode:

  python -m weights_convert ViT-B-32.pt bpe_simple_vocab_16e6.txt.gz weights/clip

ViT-B-32.pt is at https://openaipublic.azureedge.net/clip/models/
40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af/ViT-B-32.pt (the number is its SHA-256), and the
vocabulary at https://github.com/openai/CLIP/raw/main/clip/bpe_simple_vocab_16e6.txt.gz. The same weights as safetensors
or as a state dict of torch.save, with OpenAI's or Hugging Face's names, are read too. Weights that were trained with
another activation than QuickGELU (most of OpenCLIP's) have the same names and sizes, but are not for this network.

The exit status is 0 if OUT was written or both files were downloaded. Otherwise it is 2, and OUT does not exist.
"""


class OneLineParser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"weights_convert: {one_line(message)}\n")


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    names, sizes = " and ".join(FILES), sum(FILES.values()) / 1e6
    result = OneLineParser(
        prog="python -m weights_convert",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    result.add_argument("weights", nargs="?", type=Path, help="s3d_howto100m.pth, or CLIP's ViT-B-32.pt or safetensors")
    result.add_argument("vocabulary", nargs="?", type=Path, help="s3d_dict.npy, or CLIP's bpe_simple_vocab_16e6.txt.gz")
    result.add_argument("out", nargs="?", type=Path, metavar="OUT", help="directory to write, which must not exist")
    result.add_argument(
        "--logit-scale",
        action="store_true",
        help="multiply CLIP's sentence embeddings by exp(logit_scale), which is 100, as RoboCLIP's release does for "
        "its reward; without this option, the reward is the cosine",
    )
    result.add_argument(
        "--download",
        type=Path,
        metavar="DIR",
        help=f"download {names} ({sizes:.0f} MB) into DIR, or resume an earlier download",
    )
    result.add_argument(
        "--base-url", default=BASE_URL, metavar="URL", help="where to download from (default: %(default)s)"
    )
    return result


def main(argv: list[str] | None = None) -> int:
    """Runs the command and returns its exit status: 0, or 2 after one line on stderr."""
    args = parser().parse_args(argv)
    files = (args.weights, args.vocabulary, args.out)
    if args.download is None and None in files:
        parser().error("give the files of weights and vocabulary, and OUT, or --download DIR; see --help.")
    if args.download is not None and args.weights is not None:
        parser().error("give either --download DIR or the three paths, not both.")
    try:
        if args.download is not None:
            for path in download(args.download, args.base_url):
                print(one_line(str(path), 5000))
        else:
            print(one_line(f"{args.out}: {_convert(*files, args.logit_scale)}", 1000))
    except (ValueError, OSError) as error:
        print(f"weights_convert: {one_line(str(error), 1000)}", file=sys.stderr)
        return 2
    return 0


def _convert(weights: Path, vocabulary: Path, out: Path, logit_scale: bool) -> str:
    """Writes the encoder that the files are of, and returns its provenance."""
    from weights_convert.recognise import recognise_model

    model = recognise_model(weights, vocabulary)
    if model == "CLIP":
        from weights_convert.clip import convert_clip  # slow: imports JAX

        return convert_clip(weights, vocabulary, out, logit_scale=logit_scale).provenance
    if logit_scale:
        raise ValueError(f"--logit-scale is for CLIP, but {weights} and {vocabulary} are read as S3D's; leave it out.")
    from weights_convert.convert import convert

    return convert(weights, vocabulary, out).provenance


if __name__ == "__main__":
    sys.exit(main())
