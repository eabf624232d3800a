"""Web: tasks in a real browser."""
