"""Readers of images: decoding, folders by class, and folders of images with masks.

Imports only the rest of data and what data may import.
"""
