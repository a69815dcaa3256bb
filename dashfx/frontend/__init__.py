"""The frontend: a user's model and checkpoint become a `Program`, every conv a Site or a Skip.

Imports facts, config, data and task.
"""
