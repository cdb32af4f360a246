"""Grade a class: each answer runs in a process of its own, and what it hands over is judged in another.

Who does what, for ``advlib grade``:

    submissions   which notebook is whose, read whole before anything runs
    notebook      the cells of a notebook, and what a chapter's notebook asks for
    supervisor    starts the worker, in a container where one is named, and outlives whatever happens to it
    worker        sets up what an exercise needs, from the chapter's own cells; a copy of it (a fork) for each answer
    answering     inside that copy: run the student's cell, and hand over what it gives
    limits        what such a copy may do: time, memory, files, network, other processes
    handover      numbers, words and tensors as bytes that no reader executes
    judge         where no student's code runs: is what was handed over right?
    results       scores.csv, a page for each student, and the record of who is done

``classroom/nbgrader_config.py`` does the same within nbgrader.
"""
