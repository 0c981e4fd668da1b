"""Our planners where other packages expect theirs; no such package is imported."""
