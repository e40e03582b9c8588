"""The public files of the paper's data: fetched, and checked where a user placed them."""
