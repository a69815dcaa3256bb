"""Options that verbs share, one file a topic; `shared.py` makes a configuration of them."""
