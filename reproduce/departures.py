"""Departures from the original, measured: ``python -m reproduce.departures --help``."""

from reproduce.commandline import script

main = script("departures")

if __name__ == "__main__":
    raise SystemExit(main())
