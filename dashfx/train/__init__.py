"""Training: the fit loop, recipes, schedules, weight averaging, processes, and listeners of progress.

Imports facts, config, data and task.
"""
