"""The top floor, what a person touches: pipelines, figures, reports."""
