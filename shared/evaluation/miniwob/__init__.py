"""The MiniWoB++ benchmark: its catalogue, its pages on loopback, and how an episode starts."""
