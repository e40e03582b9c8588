"""All tables of the paper for one study: ``python -m reproduce.all_tables --help``."""

from reproduce.commandline import group

main = group("tables")

if __name__ == "__main__":
    raise SystemExit(main())
