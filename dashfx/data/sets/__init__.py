"""Named and generated data sets, with the cache of what was generated.

Imports only the rest of data and what data may.
"""
