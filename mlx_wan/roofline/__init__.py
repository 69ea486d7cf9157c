"""How long a plan takes here: its operations, counted, times rates that were measured.

work.py       what an operation is; each network's file counts its own
stages.py     the operations of a plan, stage by stage
rates.py      seconds of an operation, by interpolation between measured sizes
calibrate.py  measures the rates of this machine (`mlx-wan doctor --calibrate`)
forwards.py   whole forwards, alone and paired: what they take beside their operations
chips.py      rates of known Apple chips, from published figures
predict.py    a plan's seconds by stage, and where the figure comes from
refine.py     what finished runs say about the predictions
"""
