"""Reading the deployment every two seconds: broker, nodes, registry, results. Draws nothing."""
