"""The commands of `python -m datasets`: list and show the known sets, examine, prepare
and download their files.
"""

# in a set's folder if the order of its test images is not ELEVATER's
ORDER_FILE = "order.json"
