"""Checks of data: arrays that cannot be, findings worth a note, leaks between parts, and a survey of each part."""
