"""Self-contained HTML pages: what the report of a study, a model card and a prediction share."""
