"""The commands of `python -m datasets`: list and show the known sets, examine, prepare
and download their files.
"""
