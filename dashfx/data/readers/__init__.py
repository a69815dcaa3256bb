"""Readers, one format a file: bytes on disk become a `Source`.

Imports only the rest of data and what data may import.
"""
