"""How the embedded pocket model and its pictures were made."""
