"""Answers: prompts, generators, conversations, and the pipeline from question to answer."""
