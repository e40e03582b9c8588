"""Table S3 of the paper for one study: ``python -m reproduce.table_s3 --help``."""

from reproduce.commandline import script

main = script("tableS3")

if __name__ == "__main__":
    raise SystemExit(main())
