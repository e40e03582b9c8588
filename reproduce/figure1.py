"""Figure 1 of the paper for one study: ``python -m reproduce.figure1 --help``."""

from reproduce.commandline import script

main = script("figure1")

if __name__ == "__main__":
    raise SystemExit(main())
