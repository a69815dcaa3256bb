"""Configuration: pydantic models of all options, YAML files and `--set`, presets of tasks. Imports errors and space."""
