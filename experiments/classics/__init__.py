"""Classical control tasks in their natural units: what planners do at their defaults."""
