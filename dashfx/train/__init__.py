"""Training: the fit loop, recipes, schedules, averages of weights and of batch norms, processes, progress.

Imports facts, config, data and task.
"""
