"""The field's protocols by one command: base-to-new, cross-dataset, domain
generalisation and few-shot curves.

`suite` names the tasks, `planner` plans the runs, `tables` computes the numbers and
writes them beside those that others have reported.
"""
