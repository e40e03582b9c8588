"""Figure 4 of the paper for one study: ``python -m reproduce.figure4 --help``."""

from reproduce.commandline import script

main = script("figure4")

if __name__ == "__main__":
    raise SystemExit(main())
