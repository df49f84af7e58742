"""Run by test_devices.py as one of several processes: runs `rcjax ARGUMENTS`, moved and embedded as `toy.move_by` says.

Usage: python -m tests.devices_process toy|real ARGUMENTS
"""

import sys

from rcjax import cli

join_processes = cli.join_processes


def join_and_move(*arguments) -> None:
    """Joins the processes before environments are imported, because that makes JAX look for devices."""
    join_processes(*arguments)
    from rcjax import showcase
    from tests import toy

    showcase.SIZE = 64  # drawing a video of the usual size takes longer than the run
    toy.move_by(sys.argv[1])


if __name__ == "__main__":
    cli.join_processes = join_and_move
    sys.exit(cli.main(sys.argv[2:]))
