"""The report of a run, a page of HTML and its parts. Imports run and what run may."""
