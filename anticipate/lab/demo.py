"""`anticipate demo`: from data to a scored table and pictures in minutes on a CPU."""

from pathlib import Path

from anticipate.cli import main as run
from anticipate.console import CommandParser, notice

EXPERIMENT = "experiments/demo.yaml"
DATA = Path("data/synthetic.h5")


def main(argv: list[str]) -> None:
    """Prepare the synthetic data set, then fit and test MixANT on it along with the baselines.

    Args:
        argv: The command's name and its options.
    """
    parser = CommandParser(prog="anticipate demo", description=__doc__)
    parser.add_argument("--run_dir", default="runs", help="folder of all runs (default: runs)")
    run_dir = Path(parser.parse_args(argv[1:]).run_dir)
    if not DATA.is_file():
        run(["prepare", "synthetic", "--output", str(DATA)])
    name = free_name(run_dir, "demo")
    run(["fit", "--config", EXPERIMENT, "--run_name", name, "--run_dir", str(run_dir)])
    picture = min((run_dir / name).rglob("timeline_*.png"))
    notice(f"a timeline: {picture}")
    notice(f"everything else: tensorboard --logdir {run_dir}")


def free_name(run_dir: Path, stem: str) -> str:
    """Return the first of `stem`, `stem_2`, `stem_3` .. that no run has, so none is overwritten."""
    names = [stem, *(f"{stem}_{number}" for number in range(2, 10_000))]
    return next(name for name in names if not (run_dir / name).exists())
