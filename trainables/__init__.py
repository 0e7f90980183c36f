"""The science of one trajectory: data, model, MC dropout, acquisition, training, evaluation and the ledger.

Nothing here knows of grids, studies or reports. ``spec.py``, ``ledger.py`` and ``storage.py`` import neither torch nor Ray, so
that planning and analysis start fast.
"""
