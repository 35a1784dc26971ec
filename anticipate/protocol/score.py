"""The command line of `anticipate score`."""

import argparse
from importlib import import_module

from anticipate.console import CommandParser

SCORERS = {
    "dense": "forecasts over long videos (Breakfast, 50Salads, Assembly101): MoC by horizon",
    "short-term": "the next action (EPIC-Kitchens, EGTEA Gaze+): class-mean recalls, accuracies",
    "time-to-action": "how early the next action is foreseen, from predictions at several times",
    "futures": "sampled futures: Top-1 MoC by number of samples, reliability, durations",
    "labels": "what labels alone show: the known length of videos, and mistakes of recognition",
    "gap": "the differences between two results, or between seen and unseen participants of one",
}
"""What can be scored, whose module is `score_` and that name, and its line in the help."""


def main(argv: list[str]) -> None:
    """Run `anticipate score NAME`.

    Args:
        argv: The words of the command line from `score` on.
    """
    parser = CommandParser(
        prog="anticipate score", description="Score predictions by the protocol of the data set."
    )
    scorers = parser.add_subparsers(metavar="NAME", required=True)
    for name, help_ in SCORERS.items():
        module = import_module(f"anticipate.protocol.score_{name.replace('-', '_')}")
        scorer = scorers.add_parser(name, help=help_, description=module.__doc__)
        module.add_arguments(scorer)
        scorer.set_defaults(run=module.run)
    options: argparse.Namespace = parser.parse_args(argv[1:])
    options.run(options)
