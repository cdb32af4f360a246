"""Stands for Colab's own module: what a notebook finds there, and nothing that it does."""
