"""Table 2 of the paper for one study: ``python -m reproduce.table2 --help``."""

from reproduce.commandline import script

main = script("table2")

if __name__ == "__main__":
    raise SystemExit(main())
