"""`python -m weights_convert` converts the released PyTorch weights to an encoder checkpoint."""

import argparse
import sys
from pathlib import Path
from typing import NoReturn

from rcjax.messages import one_line
from weights_convert.download import BASE_URL, FILES, download

DESCRIPTION = """\
Turns the released weights of S3D (HowTo100M, MIL-NCE: Miech et al. 2020, arXiv:1912.06430) into the Orbax
checkpoint that rcjax loads. PyTorch is not needed, and no code in the files is executed.

  python -m weights_convert --download weights
  python -m weights_convert weights/s3d_howto100m.pth weights/s3d_dict.npy weights/s3d

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
    result.add_argument("weights", nargs="?", type=Path, help="s3d_howto100m.pth")
    result.add_argument("words", nargs="?", type=Path, help="s3d_dict.npy")
    result.add_argument("out", nargs="?", type=Path, metavar="OUT", help="directory to write, which must not exist")
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
    files = (args.weights, args.words, args.out)
    if args.download is None and None in files:
        parser().error("give s3d_howto100m.pth, s3d_dict.npy and OUT, or --download DIR; see --help.")
    if args.download is not None and args.weights is not None:
        parser().error("give either --download DIR or the three paths, not both.")
    try:
        if args.download is not None:
            for path in download(args.download, args.base_url):
                print(one_line(str(path), 5000))
        else:
            from weights_convert.convert import convert  # slow: imports JAX

            print(one_line(f"{args.out}: {convert(*files).provenance}", 1000))
    except (ValueError, OSError) as error:
        print(f"weights_convert: {one_line(str(error), 1000)}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
