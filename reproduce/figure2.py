"""Figure 2 of the paper for one study: ``python -m reproduce.figure2 --help``."""

from reproduce.commandline import script

main = script("figure2")

if __name__ == "__main__":
    raise SystemExit(main())
