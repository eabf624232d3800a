"""World models: models that predict an environment's observations."""
