"""The prompt methods: one file for each, with its multitask form."""
