"""LLM functions: a name that is asked, variants that answer, and what came of each answer."""
