"""`anticipate explain`: what a trained network does, from its checkpoint."""

from importlib import import_module

from anticipate.console import CommandParser

ANALYSES = {
    "experts": (
        "anticipate.lab.explain.explain_experts:main",
        "which experts a MixANT chooses for which video",
    ),
    "forward": (
        "anticipate.lab.explain.explain_forward:main",
        "which past actions AGA attends to when it expects an action",
    ),
    "backward": (
        "anticipate.lab.explain.explain_backward:main",
        "which other past would have made AGA expect another action",
    ),
    "gate": (
        "anticipate.lab.explain.explain_gate:main",
        "how AGA weighs its past against the current frame along a clip",
    ),
}
"""Name of each analysis, the function that runs it, and its line in the help."""


def main(argv: list[str]) -> None:
    """Run one analysis.

    Args:
        argv: The command's name, that of the analysis and its options.
    """
    parser = CommandParser(prog="anticipate explain", description=__doc__)
    lines = "; ".join(f"{name}: {help_}" for name, (_, help_) in ANALYSES.items())
    parser.add_argument("analysis", choices=ANALYSES, help=lines)
    name = parser.parse_args(argv[1:2]).analysis
    module, _, function = ANALYSES[name][0].partition(":")
    getattr(import_module(module), function)(argv[1:])
