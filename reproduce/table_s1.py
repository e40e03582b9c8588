"""Table S1 of the paper for one study: ``python -m reproduce.table_s1 --help``."""

from reproduce.commandline import script

main = script("tableS1")

if __name__ == "__main__":
    raise SystemExit(main())
