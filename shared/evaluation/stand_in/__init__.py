"""The stand-in: a small OpenAI-compatible server for machines without a key.

It is no model. It reads the prompt as a model would have to, and answers with written rules that
know fewer kinds of goals than the rule-based agent and slip now and then, so that the LLM path
(HTTP, prompt, parsing, usage, price) runs for real. Run it alone with
`python -m shared.evaluation.stand_in --port 0`.
"""

MODEL = "stand-in"
