"""HTTP: LLM functions asked from any language, with an API key."""
