"""The paper's tables and figures as one plan of runs, each run once, on the pocket
suite or on the paper's own sets.

`protocol` defines the runs, `items` plans it, `work` runs a job, `running` many of
them, `tables` and its neighbours write the results.
"""
