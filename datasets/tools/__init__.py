"""What `python -m datasets` does: list and show the known sets, examine, prepare and download their files."""

ORDER_FILE = "order.json"  # lies in a set's folder where the order of its test images is not ELEVATER's


class NotDone(RuntimeError):
    """A command that was understood could not be carried out; the message says what to do by hand."""
