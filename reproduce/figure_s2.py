"""Figure S2 of the paper for one study: ``python -m reproduce.figure_s2 --help``."""

from reproduce.commandline import script

main = script("figureS2")

if __name__ == "__main__":
    raise SystemExit(main())
