"""The command line `locust-adaptive`: arguments in, one clear line out. One command a file, whose function imports the
rooms it needs when it runs."""

import click

from .. import __version__
from .simulate import simulate
from .trace import trace


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="locust-adaptive")
def main() -> None:
    """Find how much traffic a model server can take under an SLO."""


main.add_command(trace)
main.add_command(simulate)
