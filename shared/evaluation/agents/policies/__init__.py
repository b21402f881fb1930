"""Policies of the rule-based agent: pure functions of what is seen and what was done."""
