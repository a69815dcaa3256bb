"""Costs of a run and of its choices: the estimate before it, budgets held in it, other points picked after it."""
