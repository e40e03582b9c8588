"""Table 1 of the paper for one study: ``python -m reproduce.table1 --help``."""

from reproduce.commandline import script

main = script("table1")

if __name__ == "__main__":
    raise SystemExit(main())
