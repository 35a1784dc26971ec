"""Run the command line with `python -m anticipate`."""

from anticipate.cli import main

if __name__ == "__main__":
    main()
