"""The documentation as a site: pages of the repository's root, and the generated page
of configuration keys.
"""
