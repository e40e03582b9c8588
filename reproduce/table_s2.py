"""Table S2 of the paper for one study: ``python -m reproduce.table_s2 --help``."""

from reproduce.commandline import script

main = script("tableS2")

if __name__ == "__main__":
    raise SystemExit(main())
