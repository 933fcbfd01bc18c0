"""What writes answers: prompts, chat models, conversations, and the pipeline from question to answer."""
