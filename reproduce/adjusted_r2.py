"""Adjusted R² for one study: ``python -m reproduce.adjusted_r2 --help``."""

from reproduce.commandline import script

main = script("adjusted-r2")

if __name__ == "__main__":
    raise SystemExit(main())
