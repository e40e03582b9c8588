"""Table S4 of the paper for one study: ``python -m reproduce.table_s4 --help``."""

from reproduce.commandline import script

main = script("tableS4")

if __name__ == "__main__":
    raise SystemExit(main())
