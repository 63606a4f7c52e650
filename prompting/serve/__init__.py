"""A prompt as a service: classify uploaded images over HTTP, and one page to do so by
hand.
"""
