"""Figure 3 of the paper for one study: ``python -m reproduce.figure3 --help``."""

from reproduce.commandline import script

main = script("figure3")

if __name__ == "__main__":
    raise SystemExit(main())
