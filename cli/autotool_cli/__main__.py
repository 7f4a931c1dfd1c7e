"""`python -m autotool_cli` runs the `autotool` command."""

from autotool_cli.main import main

if __name__ == "__main__":
    main()
