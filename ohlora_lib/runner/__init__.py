"""From a pipeline YAML to stages, papermill and pages."""
