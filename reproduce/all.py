"""All tables, figures and analyses of one study: ``python -m reproduce.all --help``."""

from reproduce.commandline import everything

main = everything()

if __name__ == "__main__":
    raise SystemExit(main())
