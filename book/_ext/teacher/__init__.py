"""The teacher's edition, made by `make teacher`. It stands beside `coursebook` because it is made of the same things:
what a chapter says of itself, and the scripts that are installed for the book. Sphinx knows nothing of it."""
