"""Run by test_devices.py as one of several processes: runs `rcjax ARGUMENTS`, with environments moved by `toy` or MJX.

Usage: python -m tests.devices_process toy|mjx ARGUMENTS
"""

import sys

from rcjax import cli

join_processes = cli.join_processes


def join_and_move(*arguments) -> None:
    """Joins the processes before environments are imported, because that makes JAX look for devices."""
    join_processes(*arguments)
    from tests import toy

    toy.move_by(sys.argv[1])


if __name__ == "__main__":
    cli.join_processes = join_and_move
    sys.exit(cli.main(sys.argv[2:]))
