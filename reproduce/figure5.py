"""Figure 5 of the paper for one study: ``python -m reproduce.figure5 --help``."""

from reproduce.commandline import script

main = script("figure5")

if __name__ == "__main__":
    raise SystemExit(main())
