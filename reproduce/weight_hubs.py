"""The weight hubs for one study: ``python -m reproduce.weight_hubs --help``."""

from reproduce.commandline import script

main = script("weight-hubs")

if __name__ == "__main__":
    raise SystemExit(main())
