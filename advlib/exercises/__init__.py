"""Checkers for the exercises: ``from advlib.exercises import check``, then ``check.fgsm(my_fgsm)``.

`frame` runs an answer and words the verdict; every chapter has a file of checkers on top of it; `check`
lists them.
"""
