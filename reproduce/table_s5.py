"""Table S5 of the paper for one study: ``python -m reproduce.table_s5 --help``."""

from reproduce.commandline import script

main = script("tableS5")

if __name__ == "__main__":
    raise SystemExit(main())
