"""All figures of the paper for one study: ``python -m reproduce.all_figures --help``."""

from reproduce.commandline import group

main = group("figures")

if __name__ == "__main__":
    raise SystemExit(main())
