"""The agents under evaluation, made by kind from validated parameters.

Importing this package imports neither an HTTP client nor a browser: an agent's module is
imported when one is made.
"""

from shared.evaluation.agents.registry import (
    KINDS,
    describe_agent,
    kind_parameters_schema,
    make_agent,
)

__all__ = ["KINDS", "describe_agent", "kind_parameters_schema", "make_agent"]
